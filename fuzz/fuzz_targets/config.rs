//! Configurations: the store's JSON, a file of variables. What is taken makes a configuration or a clear error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skydns::config::{Config, HostIdentity, Spec, StoreBefore, read_variables};

fuzz_target!(|data: &[u8]| {
    let host = HostIdentity { hostname: "h1".to_owned(), ..HostIdentity::default() };
    let settings = Spec::default().with_store("/skydns/config", data, StoreBefore::default());
    drop(Config::new(&settings.spec, &host).map_err(|problem| problem.to_string()));
    assert!(settings.problems.iter().all(|problem| problem.to_string().contains("/skydns/config")));
    let text = String::from_utf8_lossy(data);
    let (variables, problems) = read_variables(&text);
    let ends = text.matches(['\n', '\r']).count();
    assert!(variables.len() + problems.len() <= ends + 1);
});
