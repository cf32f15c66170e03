//! TCP: many queries on one connection, and many connections, with dnsperf as the load.

use super::servers::{self, NAMES, Server, Site, is_installed};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Answers a second that dnsperf gets over so many connections, and lost queries.
fn measure(server: &Server, queries: &Path, connections: usize, seconds: f64) -> (f64, u64) {
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            "dnsperf",
            "-m",
            "tcp",
            "-s",
            "127.0.0.1",
            "-p",
            &server.address.port().to_string(),
        ])
        .args(["-c", &connections.to_string(), "-q", "200", "-l", &seconds.ceil().to_string(), "-d"])
        .arg(queries)
        .output()
        .expect("dnsperf");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = |head: &str| {
        let line = text.lines().map(str::trim).find_map(|line| line.strip_prefix(head)).unwrap_or("0");
        line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(0.0)
    };
    (number("Queries per second:"), number("Queries lost:") as u64)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

/// Prints a row for one connection, and one for twenty.
pub(crate) fn bench(dir: &Path, records: &Path, rounds: usize, seconds: f64) {
    if !is_installed("dnsperf") {
        println!("TCP: not measured, for dnsperf is not installed");
        return;
    }
    let queries = dir.join("queries");
    let lines: String = (0..NAMES).map(|n| format!("s{n}.a.skydns.local A\n")).collect();
    fs::write(&queries, lines).expect("a file");
    let knot_there = is_installed("knotd");
    for connections in [1, 20] {
        let (mut ours, mut theirs, mut lost) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            let agent = servers::agent("0", (false, 5410), records, &[]);
            let (rate, missing) = measure(&agent, &queries, connections, seconds);
            drop(agent);
            ours.push(rate);
            lost += missing;
            if knot_there {
                theirs.push(
                    measure(&servers::knot(dir, 5412, false, 1, Site::Small), &queries, connections, seconds)
                        .0,
                );
            }
        }
        let ours = median(ours);
        let peer = if knot_there { format!("  {:.2} knotd", ours / median(theirs)) } else { String::new() };
        println!("{:30}{ours:11.0}{:41}{lost:7}{peer}", format!("A over TCP, {connections} connections"), "");
    }
}
