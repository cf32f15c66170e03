//! The objects of `tests/kubernetes/objects.txt`, and the cases of the files beside it.

/// An object, as the file has it.
#[derive(Clone, Debug)]
pub struct CaseObject {
    /// Its kind: the first word of the line.
    pub kind: &'static str,
    pub namespace: &'static str,
    pub name: &'static str,
    /// The service of a slice.
    pub service: &'static str,
    /// The cluster of a slice of several clusters.
    pub cluster: Option<&'static str>,
    pub target: CaseTarget,
    pub ports: Vec<CasePort>,
    pub endpoints: Vec<CaseEndpoint>,
}

/// Where a service leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseTarget {
    Addresses(Vec<&'static str>),
    Headless,
    Alias(&'static str),
}

#[derive(Clone, Debug)]
pub struct CasePort {
    pub name: &'static str,
    pub protocol: &'static str,
    pub number: u16,
}

#[derive(Clone, Debug)]
pub struct CaseEndpoint {
    pub address: &'static str,
    pub hostname: Option<&'static str>,
    pub zone: Option<&'static str>,
    pub is_ready: bool,
}

/// A question with its answer: a response code other than NOERROR, `NODATA`, or data in the order of their text.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub rtype: &'static str,
    pub answer: &'static str,
}

/// All objects of the file, in their order.
pub fn objects() -> Vec<CaseObject> {
    lines(include_str!("../../kubernetes/objects.txt")).map(object).collect()
}

/// The cases of a file's text, with names below a zone unless they end in a dot.
pub fn cases(text: &'static str, zone: &str) -> Vec<Case> {
    let case = |line: &'static str| {
        let (name, rest) = line.split_once(' ').expect("a name and a type");
        let (rtype, answer) = rest.trim_start().split_once(' ').expect("a type and an answer");
        let name = if name.ends_with('.') { name.to_owned() } else { format!("{name}.{zone}") };
        Case { name, rtype, answer: answer.trim_start() }
    };
    lines(text).map(case).collect()
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn object(line: &'static str) -> CaseObject {
    let mut words = line.split_whitespace();
    let mut next = || words.next().expect(line);
    let kind = next();
    let id = next();
    let (namespace, name) = id.split_once('/').unwrap_or((id, id));
    let (mut service, mut cluster, mut target) = ("", None, CaseTarget::Headless);
    match kind {
        "namespace" => {}
        "slice" => service = next(),
        "import-slice" => (service, cluster) = (next(), Some(next())),
        _ => {
            target = match next() {
                "headless" => CaseTarget::Headless,
                "=" => CaseTarget::Alias(next()),
                addresses => CaseTarget::Addresses(addresses.split(',').collect()),
            }
        }
    }
    let (ports, endpoints): (Vec<_>, Vec<_>) = words.partition(|word| word.contains('/'));
    let ports = ports.into_iter().map(port).collect();
    let endpoints = endpoints.into_iter().map(endpoint).collect();
    CaseObject { kind, namespace, name, service, cluster, target, ports, endpoints }
}

fn port(word: &'static str) -> CasePort {
    let (name, rest) = word.split_once('/').expect(word);
    let (protocol, number) = rest.split_once('=').expect(word);
    CasePort { name, protocol, number: number.parse().expect(word) }
}

fn endpoint(word: &'static str) -> CaseEndpoint {
    let ready = word.trim_start_matches('!');
    let (rest, zone) = ready.split_once('@').map_or((ready, None), |(rest, zone)| (rest, Some(zone)));
    let (address, hostname) =
        rest.split_once('=').map_or((rest, None), |(address, name)| (address, Some(name)));
    CaseEndpoint { address, hostname, zone, is_ready: ready == word }
}
