//! Isolation on the kernel these tests run on: real threads, moved and moved back.
//!
//! Threads are looked for in `/proc`, so these tests run in a namespace of processes of their own: nobody else's are seen
//! there, and nobody else's are moved.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use host::tasks::Pid;
use host::{Root, affinity};
use sys_tuning::{
    Agreement, ApplyOptions, Engine, Outcome, Profile, RollbackOptions, RollbackTo, Standing, Status,
    Trading, Verified,
};
use units::CpuSet;

use crate::{is_root, may_run, suits};

const INSIDE: &str = "QUELL_INSIDE_NAMESPACE";

/// Runs the test `name` of this file again, in its own namespaces; true there, where the test is to be done.
fn inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let cpus = host::threads::allowed_cpus().unwrap();
    if !may_run(name, "root, to move threads", is_root()) || !suits(name, "CPUs 0 and 1", cpus.count() >= 2) {
        return false;
    }
    let test = format!("isolation::{name}");
    let status = Command::new("unshare")
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args([&test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} in its own namespaces: {status}");
    false
}

/// A process that does nothing, gone when dropped.
struct Idler(Child);

impl Idler {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    fn on(cpus: &str) -> Self {
        let idler = Self::start();
        idler.may_use(cpus);
        idler
    }

    fn pid(&self) -> Pid {
        Pid(self.0.id())
    }

    fn identity(&self) -> String {
        let stat = host::tasks::of(&Root::system(), self.pid()).unwrap().remove(0).stat;
        format!("{}@{}", stat.tid, stat.start_ticks)
    }

    fn may_use(&self, cpus: &str) {
        let stat = host::tasks::of(&Root::system(), self.pid()).unwrap().remove(0).stat;
        let cpus = cpus.parse().unwrap();
        affinity::set_allowed(&Root::system(), self.pid(), stat.start_ticks, &cpus).unwrap();
    }

    fn allowed(&self) -> CpuSet {
        host::tasks::of(&Root::system(), self.pid()).unwrap().remove(0).allowed
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Idler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A control group of the test's own; gone when dropped, after those in it.
struct Group(PathBuf);

impl Group {
    fn make(name: &str) -> Self {
        let tree = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new);
        let tree = tree.into_iter().find(|tree| tree.join("cgroup.procs").exists()).unwrap();
        fs::create_dir(tree.join(name)).unwrap();
        Self(tree.join(name))
    }

    fn take(&self, idler: &Idler) {
        Root::system()
            .write(&self.0.join("cgroup.procs").display().to_string(), &idler.pid().to_string())
            .unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

struct Bench {
    dir: tempfile::TempDir,
    profile: Profile,
}

impl Bench {
    /// CPU 1 is the application's.
    fn new(knobs: &str) -> Self {
        let text = format!("schema = \"quell.profile/1\"\n[cpus]\nisolated = \"1\"\n[knobs]\n{knobs}");
        Self { dir: tempfile::tempdir().unwrap(), profile: Profile::parse("test.toml", &text).unwrap() }
    }

    fn engine(&self) -> Engine {
        Engine::new(Arc::new(Root::system()), &self.dir.path().join("state"))
    }

    /// What was changed, and to what.
    fn apply(&self) -> Vec<(String, String)> {
        let engine = self.engine();
        let applied = engine.apply(&engine.plan(&self.profile).unwrap(), &ApplyOptions::default()).unwrap();
        assert_eq!(applied.result, Outcome::Done, "{applied:#?}");
        let mut changes: Vec<(String, String)> = applied
            .changes
            .into_iter()
            .map(|change| {
                assert_eq!(change.status, Status::Ok, "{change:?}");
                (change.identity, change.to)
            })
            .collect();
        changes.sort();
        changes
    }

    fn verify(&self) -> Verified {
        self.engine().verify(&self.profile).unwrap()
    }

    /// The row of the rule.
    #[track_caller]
    fn strays(&self) -> (Status, String) {
        let verified = self.verify();
        let rule = verified.knobs.into_iter().find(|row| row.attribute == "strays").unwrap();
        (rule.status, rule.have.unwrap())
    }

    fn drifted(&self) -> Vec<String> {
        let drift = self.engine().drift().unwrap();
        drift
            .drifted
            .into_iter()
            .map(|row| format!("{}: {}", row.attribute, row.have.unwrap_or_default()))
            .collect()
    }

    fn back(&self) -> Vec<(String, Status)> {
        let options = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };
        let back = self.engine().rollback(&options).unwrap();
        assert_eq!(back.result, Outcome::Done, "{back:#?}");
        back.changes.into_iter().map(|row| (row.identity, row.status)).collect()
    }
}

fn sorted<const N: usize>(mut rows: [(String, String); N]) -> Vec<(String, String)> {
    rows.sort();
    rows.to_vec()
}

#[test]
fn threads_of_others_leave_and_come_back() {
    if !inside("threads_of_others_leave_and_come_back") {
        return;
    }
    let group = Group::make("quell-test-application");
    let (free, mut ends) = (Idler::on("0-1"), Idler::on("0-1"));
    let (housekeeping, pinned, application) = (Idler::on("0"), Idler::on("1"), Idler::on("0-1"));
    group.take(&application);
    let bench = Bench::new("'iso.tasks' = { cpus = 'housekeeping', application = 'quell-test-application' }");

    assert_eq!(bench.strays().0, Status::Failed, "two threads may use CPU 1");
    let to = |idler: &Idler, cpus: &str| (idler.identity(), cpus.to_owned());
    assert_eq!(bench.apply(), sorted([to(&free, "0"), to(&ends, "0")]));
    assert_eq!(bench.verify().agreement(), Agreement::Yes, "{:#?}", bench.verify().knobs);
    assert_eq!([&free, &ends, &housekeeping].map(|idler| idler.allowed().to_string()), ["0", "0", "0"]);
    assert_eq!([&pinned, &application].map(|idler| idler.allowed().to_string()), ["1", "0-1"]);
    assert_eq!(bench.apply(), [], "nothing is left to do");

    // A thread that ends is no drift; one that comes is.
    ends.end();
    assert_eq!(bench.drifted(), [""; 0]);
    let late = Idler::on("0-1");
    let told = format!("1 threads: sleep {}", late.pid());
    assert_eq!(bench.drifted(), [format!("strays: {told}")]);
    assert_eq!(bench.strays(), (Status::Drifted, told));
    assert_eq!(bench.apply(), [to(&late, "0")]);
    assert_eq!(bench.drifted(), [""; 0]);

    // Whoever watches brings those that came since in line, and the way back knows them.
    let later = Idler::on("0-1");
    let Standing::Profile(standing) = bench.engine().standing().unwrap() else { panic!("nothing stands") };
    let completed = bench.engine().complete(&standing, &[], 0, &Trading::NEVER).unwrap().unwrap();
    assert_eq!(completed.changes.len(), 1, "{completed:#?}");
    assert_eq!((later.allowed().to_string(), bench.drifted().len()), ("0".to_owned(), 0));

    // One that keeps itself to fewer CPUs than it may does not reach over the fence; one that comes back over it does.
    late.may_use("0-1");
    assert_eq!(bench.drifted().len(), 2, "the thread's own row, and the rule's: {:?}", bench.drifted());
    assert_eq!(bench.apply(), [to(&late, "0")]);

    let back = bench.back();
    let gone: Vec<&(String, Status)> = back.iter().filter(|(_, status)| *status != Status::Ok).collect();
    assert_eq!(gone.len(), 1, "only the one that ended: {back:?}");
    assert_eq!(gone[0].1, Status::NotApplicable);
    for idler in [&free, &late, &later, &application] {
        assert_eq!(idler.allowed().to_string(), "0-1");
    }
    assert_eq!([&pinned, &housekeeping].map(|idler| idler.allowed().to_string()), ["1", "0"]);
}

#[test]
fn without_kernel_threads_in_sight_there_is_nothing_to_move() {
    if !inside("without_kernel_threads_in_sight_there_is_nothing_to_move") {
        return;
    }
    let _free = Idler::on("0-1"); // a program's: no matter of this knob
    let bench = Bench::new("'iso.kthreads' = { cpus = 'housekeeping' }");
    assert_eq!(bench.apply(), []);
    assert_eq!(bench.strays(), (Status::Ok, "none".to_owned()));
}

#[test]
fn a_thread_that_moved_itself_since_is_left_alone() {
    if !inside("a_thread_that_moved_itself_since_is_left_alone") {
        return;
    }
    let idler = Idler::on("0-1");
    let bench = Bench::new("'iso.tasks' = { cpus = 'housekeeping' }");
    assert_eq!(bench.apply(), [(idler.identity(), "0".to_owned())]);
    idler.may_use("1");
    let options = RollbackOptions { to: RollbackTo::Baseline, force: false, at: 0 };
    let back = bench.engine().rollback(&options).unwrap();
    assert_eq!(back.changes[0].status, Status::Foreign, "{back:?}");
    assert_eq!(idler.allowed().to_string(), "1");
}

/// cgroup v1 sets of this test, and the switch of the root's set; as before when dropped.
struct Sets {
    balance: String,
}

const TREE: &str = "/sys/fs/cgroup/cpuset";

impl Sets {
    const OWN: [&str; 3] = ["quell-test-set", "quell-test-overlap", "quell-housekeeping"];

    fn read(file: &str) -> String {
        Root::system().read(&format!("{TREE}/{file}")).unwrap().trim().to_owned()
    }

    fn write(file: &str, text: &str) {
        Root::system().write(&format!("{TREE}/{file}"), text).unwrap();
    }

    fn left() -> Vec<&'static str> {
        Self::OWN.into_iter().filter(|name| Path::new(TREE).join(name).exists()).collect()
    }
}

impl Drop for Sets {
    fn drop(&mut self) {
        for name in Self::left() {
            let _ = fs::remove_dir(Path::new(TREE).join(name));
        }
        Self::write("cpuset.sched_load_balance", &self.balance);
    }
}

#[test]
fn without_partitions_sets_that_do_not_balance_isolate() {
    let name = "without_partitions_sets_that_do_not_balance_isolate";
    let has = Path::new(TREE).join("cpuset.sched_load_balance").exists() && Sets::left().is_empty();
    let two = host::threads::allowed_cpus().unwrap().count() >= 2;
    if !may_run(name, "root, to make control groups", is_root())
        || !suits(name, "cgroup v1 with cpusets, and CPUs 0 and 1", has && two)
    {
        return;
    }
    let sets = Sets { balance: Sets::read("cpuset.sched_load_balance") };
    let bench =
        Bench::new("'iso.cpuset1' = { group = 'quell-test-set', cpus = 'isolated', balance = false }");
    let online = host::cpus::Cpus::read(&Root::system()).unwrap().online;
    bench.apply();
    let one: CpuSet = "1".parse().unwrap();
    assert_eq!(Sets::read("cpuset.sched_load_balance"), "0");
    assert_eq!(Sets::read("quell-housekeeping/cpuset.cpus"), online.difference(&one).to_string());
    assert_eq!(Sets::read("quell-test-set/cpuset.sched_load_balance"), "0");
    assert_eq!(bench.verify().agreement(), Agreement::Yes, "{:#?}", bench.verify().knobs);

    // Somebody's set that overlaps and balances: every file of ours reads as wanted, and the effect is gone.
    fs::create_dir(Path::new(TREE).join("quell-test-overlap")).unwrap();
    Sets::write("quell-test-overlap/cpuset.cpus", "0-1");
    let verified = bench.verify();
    let undone: Vec<_> = verified.knobs.iter().filter(|row| row.status == Status::Failed).collect();
    assert_eq!(undone.len(), 1, "{verified:#?}");
    assert!(
        undone[0].reason.contains("/quell-test-overlap has CPU 0-1 and balances"),
        "{}",
        undone[0].reason
    );
    fs::remove_dir(Path::new(TREE).join("quell-test-overlap")).unwrap();

    bench.back();
    assert_eq!((Sets::read("cpuset.sched_load_balance"), Sets::left()), (sets.balance.clone(), vec![]));
}
