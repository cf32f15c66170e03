//! Other versions of etcd than the system's, built from their Go modules where Go is there.

use std::path::{Path, PathBuf};
use std::process::Command;

const MAIN: &str = "package main

import (
\t\"os\"

\t\"go.etcd.io/etcd/server/v3/etcdmain\"
)

func main() { etcdmain.Main(os.Args) }
";

/// The program of a version; `None`, with a word on why, where it cannot be built.
pub fn build(version: &str) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("etcd-{version}"));
    let program = dir.join("etcd");
    if program.exists() {
        return Some(program);
    }
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join("main.go"), MAIN).expect("a file");
    std::fs::write(dir.join("go.mod"), "module etcd\n\ngo 1.24\n").expect("a file");
    let module = format!("go.etcd.io/etcd/server/v3@{version}");
    // Under another name until it is complete.
    for args in [&["get", &module][..], &["mod", "tidy"], &["build", "-o", "unfinished", "."]] {
        match Command::new("go").args(args).current_dir(&dir).output() {
            Ok(done) if done.status.success() => {}
            Ok(done) => {
                let why = String::from_utf8_lossy(&done.stderr).into_owned();
                println!("left out: etcd {version} cannot be built: go {args:?}: {why}");
                return None;
            }
            Err(error) => {
                println!("left out: etcd {version} cannot be built: go: {error}");
                return None;
            }
        }
    }
    std::fs::rename(dir.join("unfinished"), &program).expect("renamed");
    Some(program)
}
