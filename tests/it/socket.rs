//! The report socket: read by anybody's HTTP client, and not to be hurt by one.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use host::Root;
use host::cpus::Cpus;
use host::threads::{self, Policy, Role};
use report::{Exit, Report};

use crate::agent::{QUIET, settled};
use crate::harness::socket::{answer, connect, exchange, request};
use crate::harness::{Agent, Quell, process, require, require_root, until};

#[test]
fn curl_reads_every_path() {
    if !require("curl") {
        return;
    }
    let agent = Agent::start(QUIET);
    settled(&agent);
    let check = |path: &str, schema: &str| {
        let written = "\n%{http_code} %{content_type}";
        let curl =
            ["curl", "--silent", "--show-error", "--write-out", written, "--unix-socket"].map(Into::into);
        let url = format!("http://quell{path}");
        let curl =
            curl.into_iter().chain([agent.socket().into_os_string(), url.into(), "--user-agent".into()]);
        let output = Quell::new().under(curl).run().succeeds();
        let (body, status) = output.stdout.rsplit_once('\n').unwrap();
        assert_eq!(status, "200 application/json", "{output}");
        assert!(body.starts_with(&format!("{{\"schema\":\"{schema}\"")), "{output}");
    };
    check("/v1/report", "quell.report/1");
    check("/v1/report?window=2s&hist=1", "quell.report/1");
    check("/v1/report?window=all", "quell.report/1");
    check("/v1/budgets", "quell.budgets/1");
    check("/v1/stalls", "quell.stalls/1");
}

#[test]
fn histograms_come_when_they_are_asked_for() {
    let agent = Agent::start(QUIET);
    let has_histograms = |path: &str| {
        let report = Report::from_json(&agent.ask(path).body).unwrap();
        report.channels.iter().all(|channel| channel.hist.is_some())
    };
    assert!(has_histograms("/v1/report?hist=1"));
    assert!(!has_histograms("/v1/report?hist=0"));
    assert!(!has_histograms("/v1/report"));
}

#[test]
fn what_is_no_request_is_refused_with_the_reason() {
    let agent = Agent::start(QUIET);
    let check = |sent: &str, status: u16, part: &str| {
        exchange(&agent.socket(), sent.as_bytes()).refuses(status, part);
    };
    check("hello\r\n\r\n", 400, "not an HTTP request");
    check("GET /v1/report\r\n\r\n", 400, "not an HTTP request");
    check("GET /v1/report HTTP/1.1\r\nno colon\r\n\r\n", 400, "not an HTTP request");
    check("\x16\x03\x01\x02", 400, "not an HTTP request"); // a client that wants TLS
    check(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(9000)), 431, "longer than 8192 bytes");
    check(&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(2000)), 400, "not an HTTP request"); // 64 headers
    check("POST /v1/report HTTP/1.1\r\nhost: q\r\ncontent-length: 0\r\n\r\n", 405, "for reading");
    check("DELETE /healthz HTTP/1.1\r\nhost: q\r\n\r\n", 405, "for reading");
    check(&request("/v1/reports"), 404, "/v1/reports: no such path");
    check(&request("/"), 404, "no such path");
    check(&request("/v1/report?windw=2s"), 400, "windw=2s: no such parameter");
    check(&request("/v1/report?window=2"), 400, "a duration needs a unit");
    check(&request("/v1/report?hist=yes"), 400, "hist=yes");
    assert_eq!(agent.ask("/healthz").body, "ok\n", "and a good one is answered after all that");
}

#[test]
fn whoever_takes_too_long_to_ask_is_told() {
    let agent = Agent::start(QUIET);
    let (mut silent, mut slow) = (connect(&agent.socket()), connect(&agent.socket()));
    slow.write_all(b"GET /v1/report HTTP/1.1\r\nhost:").unwrap();
    for stream in [&mut silent, &mut slow] {
        answer(stream).refuses(408, "no complete request within 2.00 s");
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let agent = Agent::start(QUIET);
    let mut stream = connect(&agent.socket());
    for byte in request("/healthz").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(answer(&mut stream).status, Some(200));
}

/// How many clients there are of each kind.
const OF_EACH: usize = 250;

#[test]
fn a_thousand_clients_at_once_hurt_nobody() {
    let agent = Agent::start(QUIET);
    settled(&agent);
    let (fds, memory) = (process::descriptors(agent.pid()), process::kib_of(agent.pid(), "RssAnon"));
    let mut clients = Clients::default();
    for _ in 0..OF_EACH {
        clients.silent.push(connect(&agent.socket()));
        drop(asking(&agent)); // hangs up without waiting
        clients.greedy.push(asking(&agent)); // and never reads
        clients.proper.push(asking(&agent));
    }
    let mut answered = 0;
    for client in &mut clients.proper {
        let answer = answer(client);
        match answer.status {
            Some(200) => answered += usize::from(answer.json("quell.report/1").is_object()),
            _ => answer.refuses(503, "64 clients are connected already"),
        }
    }
    assert!(answered > 0, "the first ones found a place");
    until("there is a place again", || {
        let mut client = asking(&agent);
        (answer(&mut client).status == Some(200)).then_some(())
    });
    drop(clients);
    until("every descriptor is back", || (process::descriptors(agent.pid()) <= fds).then_some(()));
    let grown = process::kib_of(agent.pid(), "RssAnon").saturating_sub(memory);
    assert!(grown < 8 << 10, "{grown} KiB more than before");
    assert!(agent.report().channels.iter().all(|channel| channel.dropped == 0), "measuring went on");
    agent.stop().succeeds();
}

#[derive(Default)]
struct Clients {
    silent: Vec<UnixStream>,
    greedy: Vec<UnixStream>,
    proper: Vec<UnixStream>,
}

/// A client that has sent its request; it may have been turned away before.
#[track_caller]
fn asking(agent: &Agent) -> UnixStream {
    let mut stream = connect(&agent.socket());
    let _ = stream.write_all(request("/v1/report?hist=1").as_bytes());
    stream
}

#[test]
fn the_socket_is_for_its_owner_and_group() {
    let agent = Agent::start(QUIET);
    let mode = fs::metadata(agent.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn a_stranger_may_not_read() {
    if !require_root() {
        return;
    }
    let agent = Agent::start(QUIET);
    fs::set_permissions(agent.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = agent.socket();
    for verb in ["report", "budgets", "stalls"] {
        let reader = Quell::new().args([verb, "--socket", socket.to_str().unwrap()]).as_nobody(0);
        let parts = ["report.sock", "Permission denied", "membership in the group"];
        reader.run().exits(Exit::Permission).says_one_line(&parts);
    }
}

#[test]
fn what_stands_at_the_path_and_is_no_socket_stays() {
    let quell = Quell::new();
    quell.file("quell.toml", QUIET);
    let path = quell.file("report.sock", "precious");
    Agent::line(&quell).run().exits(Exit::Failure).says_one_line(&[
        "report.sock",
        "is not a socket",
        "--socket",
    ]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("quell.toml", &path).unwrap();
    Agent::line(&quell).run().exits(Exit::Failure).says_one_line(&["report.sock", "is not a socket"]);
    assert!(path.is_symlink());
}

#[test]
fn a_path_that_cannot_be_is_refused() {
    let check = |socket: &str, parts: &[&str]| {
        let quell = Quell::new();
        quell.file("quell.toml", QUIET);
        let line = quell.args(["agent", "--config", "quell.toml", "--socket", socket]);
        line.run().exits(Exit::Failure).says_one_line(parts);
    };
    check("no/such/report.sock", &["no/such/report.sock", "No such file or directory", "--socket PATH"]);
    check(&format!("{}/report.sock", "a".repeat(100)), &["report.sock"]);
    check("quell.toml/report.sock", &["Not a directory"]);
}

/// A program that spins at SCHED_FIFO has a measured CPU to itself for most of a second; who asks on another one is answered
/// meanwhile. How soon is a figure and no promise: the machine that tests has other work.
#[test]
fn it_answers_while_a_measured_cpu_is_spun_on() {
    let online = Cpus::read(&Root::system()).unwrap().online;
    let allowed = threads::allowed_cpus().unwrap();
    if !require_root() || online.count() < 2 || !online.is_subset(&allowed) {
        println!("it_answers_while_a_measured_cpu_is_spun_on: skipped, it needs root and two CPUs");
        return;
    }
    let spun = online.iter().last().unwrap();
    let agent = Agent::start(&format!("[measure]\ncpus = \"{spun}\"\nprobes = [\"timer-wakeup\"]\n"));
    threads::pin(&online.iter().filter(|cpu| *cpu != spun).collect()).unwrap(); // this thread asks; the agent has every CPU
    agent.report();
    let role = Role { name: "spinner".to_owned(), cpus: spun.into(), policy: Policy::Fifo(50) };
    let spinner = threads::spawn(role, |placement| {
        let began = Instant::now();
        while placement.policy_refused.is_none() && began.elapsed() < SPIN {
            std::hint::spin_loop();
        }
        placement.policy_refused
    });
    let spinner = spinner.unwrap();
    let mut times = Vec::new();
    while !spinner.is_finished() {
        let began = Instant::now();
        agent.report();
        if !spinner.is_finished() {
            times.push(began.elapsed());
        }
    }
    if let Some(refused) = spinner.join().unwrap() {
        println!("it_answers_while_a_measured_cpu_is_spun_on: skipped, {refused}");
        return;
    }
    times.sort_unstable();
    let quantile = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    assert!(!times.is_empty(), "nobody was answered");
    println!(
        "{} answers while CPU {spun} was spun on: p50 {:?}, p99 {:?}, longest {:?}",
        times.len(),
        quantile(50),
        quantile(99),
        quantile(100)
    );
    agent.stop().succeeds();
}

/// Below what the kernel lets a real-time thread have of each second (sched_rt_runtime_us).
const SPIN: Duration = Duration::from_millis(850);
