//! Network interfaces on the real kernel, in a network of the test's own: the machine's is never touched.

#![expect(clippy::disallowed_methods, reason = "a thread with a network of its own, that ends with the test")]

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;

use host::Root;
use host::ethtool::{self, Aspect, State};
use host::interfaces::interfaces;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sys_tuning::{
    Agreement, Applied, ApplyOptions, Engine, Outcome, Profile, RollbackOptions, RollbackTo, RolledBack,
    Status,
};

use crate::{is_root, may_run, suits};

/// The engine in a network with a pair of interfaces, `v0` and `v1`, that have one queue each way and could have two.
struct Net {
    dir: tempfile::TempDir,
    root: Arc<Root>,
}

/// Runs `body` in a network of its own, in a thread that ends with it; says so where that is not possible.
fn in_network(test: &'static str, body: fn(&Net)) {
    if !may_run(test, "root and ip, to make network interfaces", is_root() && has("ip")) {
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let (none, flags) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        mount(none, "/", none, flags, none).unwrap();
        // It shows the interfaces of the network that it is mounted in.
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
        let pair =
            "link add v0 numrxqueues 2 numtxqueues 2 type veth peer name v1 numrxqueues 2 numtxqueues 2";
        let made = try_ip(pair);
        if suits(test, "a kernel with pairs of virtual interfaces (veth)", made) {
            let net = Net { dir: tempfile::tempdir().unwrap(), root: Arc::new(Root::system()) };
            for name in ["v0", "v1"] {
                net.tell(name, Aspect::Channels, "rx 1, tx 1");
            }
            body(&net);
        }
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn has(program: &str) -> bool {
    Command::new(program).arg("-V").output().is_ok()
}

fn try_ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().unwrap().status.success()
}

#[track_caller]
fn ip(arguments: &str) {
    assert!(try_ip(arguments), "ip {arguments}");
}

fn profile(knobs: &str) -> Profile {
    Profile::parse("net.toml", &format!("schema = \"quell.profile/1\"\n[knobs]\n{knobs}")).unwrap()
}

/// Everything that drivers hold, and the files of queues, by the interfaces' numbers.
type Everything = BTreeMap<(u32, String), String>;

impl Net {
    fn engine(&self) -> Engine {
        Engine::new(self.root.clone(), &self.dir.path().join("state"))
    }

    fn apply(&self, knobs: &str) -> Applied {
        let engine = self.engine();
        engine.apply(&engine.plan(&profile(knobs)).unwrap(), &ApplyOptions::PLAIN).unwrap()
    }

    fn back(&self) -> RolledBack {
        self.engine().rollback(&RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 }).unwrap()
    }

    fn state(&self, name: &str, aspect: Aspect) -> State {
        let all = interfaces(&self.root).unwrap();
        let interface = all.iter().find(|interface| interface.name == name).unwrap();
        ethtool::get(&self.root, &interface.address(), aspect).unwrap()
    }

    /// Behind the engine's back.
    fn tell(&self, name: &str, aspect: Aspect, values: &str) {
        let all = interfaces(&self.root).unwrap();
        let interface = all.iter().find(|interface| interface.name == name).unwrap();
        ethtool::set(&self.root, &interface.address(), aspect, &values.parse().unwrap()).unwrap();
    }

    fn everything(&self) -> Everything {
        let mut found = Everything::new();
        for interface in interfaces(&self.root).unwrap() {
            for aspect in Aspect::ALL {
                let state = ethtool::get(&self.root, &interface.address(), aspect);
                let told =
                    state.map_or_else(|error| error.is_absent().to_string(), |state| format!("{state:?}"));
                found.insert((interface.index, aspect.to_string()), told);
            }
            let of_queues = interface
                .queues
                .iter()
                .flat_map(|queue| ["rps_cpus", "xps_cpus"].map(|file| format!("queues/{queue}/{file}")));
            let files = ["threaded", "napi_defer_hard_irqs", "gro_flush_timeout"].map(str::to_owned);
            for file in of_queues.chain(files) {
                let text = self.root.read(&interface.file(&file)).unwrap_or_default();
                found.insert((interface.index, file), text);
            }
        }
        for name in ["tcp_rmem", "tcp_wmem", "tcp_fastopen", "tcp_timestamps", "tcp_slow_start_after_idle"] {
            let text = self.root.read(&format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
            found.insert((0, name.to_owned()), text);
        }
        found
    }

    /// Applies `knobs` and takes them back: everything is then as it was; what is seen in between.
    fn there_and_back(&self, knobs: &str, between: impl FnOnce(&Applied)) {
        let before = self.everything();
        let applied = self.apply(knobs);
        assert_eq!(applied.result, Outcome::Done, "{applied:#?}");
        assert_ne!(self.everything(), before, "nothing was done: {applied:#?}");
        let verified = self.engine().verify(&profile(knobs)).unwrap();
        assert_eq!(verified.agreement(), Agreement::Yes, "{verified:#?}");
        assert_eq!(
            self.engine().plan(&profile(knobs)).unwrap().changes.len(),
            0,
            "the plan was not the result"
        );
        between(&applied);
        let back = self.back();
        assert_eq!(self.everything(), before, "{back:#?}");
    }
}

/// The one change of `applied`.
#[track_caller]
fn only(applied: &Applied) -> (Status, &str) {
    let [change] = applied.changes.as_slice() else { panic!("{applied:#?}") };
    (change.status, &change.reason)
}

#[test]
fn features_go_there_and_back_with_those_that_follow() {
    in_network("features", |net| {
        // Without scatter-gather nothing can be split: those features go off by themselves.
        let knobs = "'net.offload' = { interfaces = 'v0', sg = false, gro = true }";
        net.there_and_back(knobs, |_| {
            let state = net.state("v0", Aspect::Features).settings.to_string();
            assert!(state.contains("tx-scatter-gather off"), "{state}");
            assert!(state.contains("tx-tcp-segmentation waiting"), "{state}");
        });
    });
}

#[test]
fn a_plan_shows_what_it_changes_and_not_all_that_there_is() {
    in_network("plan", |net| {
        let plan = net.engine().plan(&profile("'net.offload' = { interfaces = 'v0', gro = true }")).unwrap();
        let change = &plan.changes[0];
        assert_eq!((change.from.as_str(), change.to.as_str()), ("rx-gro off", "rx-gro on"));
        assert_eq!(sys_tuning::script::shell(&change.steps), "ethtool -K v0 rx-gro on\n");
    });
}

#[test]
fn channels_go_there_and_back_and_their_queues_are_placed_by_the_next_apply() {
    in_network("channels", |net| {
        let knobs = "'net.chan' = { interfaces = 'v0', rx = 2, tx = 2 }\n\
                     'irq.rps' = { interfaces = 'v0', rps_cpus = '0' }";
        let applied = net.apply(knobs);
        let told = applied.skipped.iter().find(|skipped| skipped.knob == "net.chan").unwrap();
        assert_eq!(told.status, Status::Pending);
        assert!(told.reason.contains("irq.rps"), "{}", told.reason);
        let again = net.engine().plan(&profile(knobs)).unwrap();
        let queues: Vec<&str> = again.changes.iter().map(|change| change.identity.as_str()).collect();
        assert_eq!(queues.len(), 1, "{again:#?}");
        assert!(queues[0].ends_with(" rx-1"), "{queues:?}");
        net.back();
        assert_eq!(net.state("v0", Aspect::Channels).settings.to_string(), "rx 1, tx 1");
        net.there_and_back("'net.chan' = { interfaces = 'v0', rx = 2 }", |_| {});
    });
}

#[test]
fn more_than_a_driver_has_is_refused_before_anything_is_written() {
    in_network("too much", |net| {
        let plan = net.engine().plan(&profile("'net.chan' = { interfaces = 'v0', rx = 3 }")).unwrap();
        assert!(plan.changes.is_empty(), "{plan:#?}");
        let reason = &plan.skipped[0].reason;
        assert_eq!(reason, "v0: rx 3 is beyond what its driver can: 2 at most");
        assert_eq!(plan.skipped[0].status, Status::Failed);
    });
}

#[test]
fn a_value_that_the_driver_rounds_is_never_ok() {
    in_network("rounding", |net| {
        // The driver of virtual taps takes at most 64 packets at once, whatever it is asked for, and says nothing.
        let made = std::path::Path::new("/dev/net/tun").exists() && try_ip("tuntap add t0 mode tap");
        if !suits("rounding", "a kernel with taps", made) {
            return;
        }
        let before = net.everything();
        let applied = net.apply("'net.coal' = { interfaces = 't0', rx_frames = 100 }");
        let expected = "wrote rx-frames 100, and rx-frames 64 stands there; put back";
        assert_eq!(only(&applied), (Status::Failed, expected));
        assert_eq!(net.everything(), before);
        net.there_and_back("'net.coal' = { interfaces = 't0', rx_frames = 32 }", |_| {});
    });
}

#[test]
fn a_rename_between_plan_apply_and_undo_does_no_harm() {
    in_network("rename", |net| {
        let before = net.everything();
        let knobs =
            "'net.offload' = { interfaces = 'v0', tso = false }\n'net.chan' = { interfaces = 'v0', rx = 2 }";
        let plan = net.engine().plan(&profile(knobs)).unwrap();
        ip("link set v0 name first");
        let applied = net.engine().apply(&plan, &ApplyOptions::PLAIN).unwrap();
        assert_eq!(applied.result, Outcome::Done, "{applied:#?}");
        assert_eq!(net.state("first", Aspect::Channels).settings.to_string(), "rx 2, tx 1");
        ip("link set first name second");
        let drift = net.engine().drift().unwrap();
        assert!(drift.drifted.is_empty() && drift.checked > 0, "{drift:#?}");
        // Another interface takes the name: it is not the one that was changed.
        ip("link set v1 name v0");
        let back = net.back();
        assert_eq!(net.everything(), before, "{back:#?}");
    });
}

#[test]
fn an_interface_that_vanishes_is_no_failure() {
    in_network("vanishing", |net| {
        let knobs = "'net.offload' = { interfaces = 'v0', tso = false }";
        let plan = net.engine().plan(&profile(knobs)).unwrap();
        ip("link del v0");
        let applied = net.engine().apply(&plan, &ApplyOptions::PLAIN).unwrap();
        assert_eq!(only(&applied).0, Status::NotApplicable, "{applied:#?}");
        // Between apply and undo.
        ip("link add v0 type veth peer name v1");
        assert_eq!(net.apply(knobs).result, Outcome::Done);
        ip("link del v0");
        let drift = net.engine().drift().unwrap();
        assert!(drift.drifted.iter().all(|drifted| !drifted.status.is_trouble()), "{drift:#?}");
        net.back();
        assert!(net.engine().plan(&profile(knobs)).unwrap().changes.is_empty());
    });
}

#[test]
fn what_somebody_else_changed_since_is_left_alone() {
    in_network("foreign", |net| {
        net.apply("'net.offload' = { interfaces = 'v0', gro = true }");
        net.tell("v0", Aspect::Features, "tx-gso-list off");
        let back = net.back();
        assert!(format!("{back:?}").contains("Foreign"), "{back:#?}");
        let state = net.state("v0", Aspect::Features).settings;
        assert_eq!(state.value("rx-gro"), Some(ethtool::Value::On), "{state}");
    });
}

#[test]
fn queues_and_variables_go_there_and_back() {
    in_network("queues", |net| {
        ip("link set v0 up");
        ip("link set v1 up");
        net.there_and_back("'irq.rps' = { interfaces = 'v0,v1', rps_cpus = '0' }", |applied| {
            assert_eq!(applied.changes.len(), 2, "{applied:#?}");
        });
        net.there_and_back("'irq.napi' = { interfaces = 'v0', napi_defer_hard_irqs = 2 }", |_| {});
        let knobs = "'net.tcp' = { fastopen = 3, slow_start_after_idle = false }\n\
                     'net.buf' = { tcp_rmem = '4096 131072  6291457' }";
        net.there_and_back(knobs, |applied| assert_eq!(applied.changes.len(), 3, "{applied:#?}"));
    });
}

#[test]
fn in_a_network_of_its_own_a_process_leaves_the_hosts_alone() {
    if !may_run("namespace", "root, to make a network", is_root()) {
        return;
    }
    let thread = std::thread::spawn(|| {
        // /sys still shows the network of before: as it is for a service with PrivateNetwork=.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::new(Arc::new(Root::system()), dir.path());
        let knobs =
            "'net.tcp' = { fastopen = 3 }\n'net.coal' = { rx_usecs = 0 }\n'irq.napi' = { threaded = true }";
        let plan = engine.plan(&profile(knobs)).unwrap();
        assert!(plan.changes.is_empty(), "{plan:#?}");
        for skipped in &plan.skipped {
            assert_eq!(skipped.status, Status::NotApplicable);
            assert!(skipped.reason.contains("20-network.conf"), "{}", skipped.reason);
        }
        assert_eq!(plan.skipped.len(), 3, "{plan:#?}");
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn what_a_driver_does_not_have_is_not_applicable() {
    in_network("lacking", |net| {
        let knobs = "'net.ring' = { interfaces = 'v0', rx = 64 }\n'net.pause' = { interfaces = 'v0', rx = false }\n\
                     'net.eee' = { interfaces = 'v0', enabled = false }\n'net.coal' = { interfaces = 'v7', rx_usecs = 0 }\n\
                     'net.numa' = { interfaces = 'v0', near = '0' }";
        let plan = net.engine().plan(&profile(knobs)).unwrap();
        assert!(plan.changes.is_empty(), "{plan:#?}");
        assert_eq!(plan.skipped.len(), 5, "{plan:#?}");
        assert!(plan.skipped.iter().all(|one| one.status == Status::NotApplicable), "{plan:#?}");
    });
}

/// A pair of virtual interfaces has neither a table that spreads, nor rules, nor firmware.
#[test]
fn a_driver_that_lets_no_queue_be_chosen_is_not_applicable() {
    in_network("a_driver_that_lets_no_queue_be_chosen", |net| {
        let text = "schema = 'quell.profile/1'\n[knobs]\n\
                    'net.flow' = { interfaces = 'v0', queues = 1, rules = 'udp4 to 239.1.1.1:14310 queue 0' }\n\
                    'net.fw' = { interfaces = 'v0', says = 'rx1' }\n";
        let engine = Engine::new(net.root.clone(), &net.dir.path().join("state"));
        let before = net.root.write_count();
        let plan = engine.plan(&Profile::parse("flows.toml", text).unwrap()).unwrap();
        let told: Vec<(&str, Status)> = plan.skipped.iter().map(|row| (row.knob, row.status)).collect();
        assert_eq!(
            told,
            [("net.flow", Status::NotApplicable), ("net.fw", Status::NotApplicable)],
            "{plan:#?}"
        );
        assert!(plan.changes.is_empty() && net.root.write_count() == before);
    });
}
