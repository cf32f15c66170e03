//! Configurations: the store's JSON, a file of variables. What is taken makes a configuration or a clear error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skydns::config::{
    Config, HostIdentity, Layers, Spec, StoreBefore, ValuesBefore, Variables, read_env_file,
};
use std::path::Path;

fuzz_target!(|data: &[u8]| {
    let host = HostIdentity { hostname: "h1".to_owned(), ..HostIdentity::default() };
    let settings = Spec::default().with_store("/skydns/config", data, StoreBefore::default());
    drop(Config::new(&settings.spec, &host).map_err(|problem| problem.to_string()));
    assert!(settings.problems.iter().all(|problem| problem.to_string().contains("/skydns/config")));
    let text = String::from_utf8_lossy(data);
    let content = read_env_file(&text);
    let ends = text.matches(['\n', '\r']).count();
    assert!(content.assignments.len() + content.problems.len() <= ends + 1);
    let mut variables = Variables::default();
    variables.add_file(Path::new("/etc/default/skydns"), &content);
    let arguments = Layers { variables, ..Layers::default() }.settings(&ValuesBefore::default());
    drop(Config::new(&arguments.spec, &host).map_err(|problem| problem.to_string()));
    for refused in arguments.refused {
        let told = refused.to_string();
        assert!(told.contains("/etc/default/skydns") && !told.chars().any(char::is_control), "{told}");
    }
});
