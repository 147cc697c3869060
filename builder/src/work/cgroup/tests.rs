//! What is found and written, on trees of plain files; the effect is seen with a real engine in `attempt`'s tests.

use std::fs;
use std::path::{Path, PathBuf};

use slipway_domain::plan::Limits;

use super::group::{Group, Hits};
use super::mounts::Mounts;
use super::steps::{Steps, path};
use super::watch::Watch;

#[test]
fn mounts_are_read_as_the_kernel_writes_them() {
    let each = "29 28 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                31 28 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                33 28 0:30 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
                34 28 0:31 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
    let at = |name: &str| PathBuf::from(format!("/sys/fs/cgroup/{name}"));
    assert_eq!(Mounts::parse(each), Some(Mounts::Each { memory: at("memory"), cpu: at("cpu"), pids: at("pids") }));
    let one = "25 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
    assert_eq!(Mounts::parse(one), Some(Mounts::One("/sys/fs/cgroup".into())));
    assert_eq!(Mounts::parse("1 1 0:1 / / rw - ext4 /dev/vda rw\nrubbish\n"), None);
}

#[test]
fn a_containers_group_lies_where_runc_puts_it() {
    for (written, wanted) in [
        ("/docker/buildkit/x1", "docker/buildkit/x1"),
        ("system.slice:buildkit:x1", "system.slice/buildkit-x1.scope"),
        ("a-b-c.slice:buildkit:x1", "a.slice/a-b.slice/a-b-c.slice/buildkit-x1.scope"),
        ("-.slice:buildkit:x1", "buildkit-x1.scope"),
        ("user.slice::x1", "user.slice/x1.scope"),
    ] {
        assert_eq!(path(written), Path::new(wanted));
    }
}

fn describe(folder: &Path, name: &str, no_proxy: &str, group: &str) {
    fs::create_dir_all(folder.join(name)).expect("a folder");
    let env = ["PATH=/bin".to_owned(), format!("no_proxy={no_proxy}")];
    let text = serde_json::json!({"process": {"env": env, "args": ["sh"]}, "linux": {"cgroupsPath": group}});
    fs::write(folder.join(name).join("config.json"), text.to_string()).expect("written");
}

#[test]
fn only_the_attempts_own_steps_are_taken_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut steps = Steps::new(folder.path().to_owned(), "slipway-a-1.invalid".to_owned());
    describe(folder.path(), "own", "localhost,slipway-a-1.invalid", "/g/own");
    describe(folder.path(), "longer", "slipway-a-1.invalid.example", "/g/longer");
    describe(folder.path(), "other", "slipway-a-2.invalid", "/g/other");
    fs::create_dir(folder.path().join("late")).expect("a folder");
    fs::write(folder.path().join("late/config.json"), "{\"process\": ").expect("half of it");
    let own = |steps: &Steps| Vec::from_iter(steps.iter().map(Path::to_owned));
    steps.look();
    assert_eq!(own(&steps), [Path::new("g/own")]);
    describe(folder.path(), "late", "slipway-a-1.invalid", "/g/late");
    steps.look();
    assert_eq!(own(&steps), [Path::new("g/late"), Path::new("g/own")]);
    fs::remove_dir_all(folder.path().join("own")).expect("removed");
    steps.look();
    assert_eq!(own(&steps), [Path::new("g/late")]);
}

#[test]
fn hits_are_those_of_the_step_that_ended_last() {
    let (trees, folder) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let tree = |name: &str| trees.path().join(name);
    let mounts = Mounts::Each { memory: tree("memory"), cpu: tree("cpu"), pids: tree("pids") };
    let group = Group::make(mounts, Path::new("slipway/b/j-1"), Limits::default()).expect("made");
    let counted = |oom_kills: u64, refused: u64| {
        let text = format!("oom_kill_disable 0\nunder_oom 0\noom_kill {oom_kills}\n");
        fs::write(tree("memory/slipway/b/j-1/memory.oom_control"), text).expect("written");
        fs::write(tree("pids/slipway/b/j-1/pids.events"), format!("max {refused}\n")).expect("written");
    };
    let hits = |oom_kills, pids_refused| Hits { oom_kills, pids_refused };
    counted(0, 0);
    let mut watch = Watch::new(group, Steps::new(folder.path().to_owned(), "m".to_owned()));
    describe(folder.path(), "first", "m", "/g/first");
    watch.look();
    counted(1, 2);
    watch.look();
    assert_eq!(watch.hits(), hits(1, 2));
    // It ends well, and another one begins between two looks.
    fs::remove_dir_all(folder.path().join("first")).expect("removed");
    describe(folder.path(), "second", "m", "/g/second");
    watch.look();
    fs::remove_dir_all(folder.path().join("second")).expect("removed");
    watch.look();
    assert_eq!(watch.hits(), hits(0, 0), "what was hit before is not the second's");
    describe(folder.path(), "third", "m", "/g/third");
    watch.look();
    counted(2, 2);
    fs::remove_dir_all(folder.path().join("third")).expect("removed");
    watch.look();
    assert_eq!(watch.hits(), hits(1, 0), "hit between two looks, at its end");
}

#[test]
fn in_the_common_tree_each_step_gets_the_limits() {
    let tree = tempfile::tempdir().expect("a folder");
    let step = tree.path().join("docker/buildkit/x");
    fs::create_dir_all(&step).expect("a folder");
    for file in ["pids.max", "memory.max", "memory.swap.max", "cpu.max"] {
        fs::write(step.join(file), "max\n").expect("written");
    }
    fs::write(step.join("memory.events"), "low 0\noom 4\noom_kill 3\noom_group_kill 9\n").expect("written");
    fs::write(step.join("pids.events"), "max 7\n").expect("written");
    let limits = Limits { millicpus: 1500, memory_bytes: 4096, pids: 12, ..Limits::default() };
    let group = Group::make(Mounts::One(tree.path().to_owned()), Path::new("slipway/b/j-1"), limits).expect("made");
    group.take_in(Path::new("docker/buildkit/x"));
    group.take_in(Path::new("docker/buildkit/gone"));
    let set = |file: &str| fs::read_to_string(step.join(file)).expect("there");
    assert_eq!((set("pids.max"), set("memory.max"), set("memory.swap.max")), ("12".into(), "4096".into(), "0".into()));
    assert_eq!(set("cpu.max"), "150000 100000");
    assert_eq!(group.hits(Path::new("docker/buildkit/x")), Some(Hits { oom_kills: 3, pids_refused: 7 }));
    assert_eq!(group.hits(Path::new("docker/buildkit/gone")), None);
    assert!(!tree.path().join("slipway").exists());
}
