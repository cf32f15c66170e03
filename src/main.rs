//! The `skydns` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    skydns::cli::main(args)
}
