//! Stories of jobs, made up at random and told to a store and to a reference at once: claims, leases, cancels,
//! retries and leaves, with words that are doubled, late, or said again after a death in the middle. After each
//! step the answers are the same, the rows are what the reference says, and the invariants hold.
//!
//! `SLIPWAY_LONG=1` tells twenty times as many. A story that goes wrong is told again with ever fewer steps.
//!
//! What the decisions are worth without these tests shows
//! `cargo mutants -p slipway-store -f 'libs/store/src/{attempt_ends,claims,tags}.rs' -- --lib --test it`. One mutant
//! lives: in `end_attempts`, `<` for `>` where fewer jobs were saved than attempts closed. The jobs are locked by then, so
//! that none is lost; the line is there for whoever takes the lock away.

mod model;
mod ops;
mod reach;
mod real;
mod rows;
mod story;
mod watch;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use proptest_state_machine::ReferenceStateMachine as _;
use slipway_domain::ids::TenantId;
use slipway_runtime::ids::{new_id, token_hash};
use slipway_runtime::secret_key::SecretKey;
use slipway_store::Db;
use tokio::runtime::{Builder, Runtime};

use self::model::Model;
use self::ops::{Answer, Op, Said, Step};
use self::real::{Real, cut};
use self::rows::Rows;
use self::story::Stories;
use self::watch::{Watch, converged};
use crate::env::{Database, Env, postgres_server, start};

/// Steps of a story.
pub const STEPS: std::ops::Range<usize> = 20..80;
/// How often one story is told anew to make it shorter.
const SHRINKS: u32 = 2000;

struct Machine {
    real: Real,
    rows: Rows,
    tenants: Vec<TenantId>,
}

#[test]
fn stories_on_sqlite() {
    let memory = std::path::Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("slipway.db").display());
    tell(&url, 250);
}

#[test]
fn stories_on_postgres() {
    let Some(server) = postgres_server() else { return };
    let runtime = runtime();
    let database = runtime.block_on(Database::create(&server));
    let told = std::panic::catch_unwind(|| tell(&database.url, 60));
    runtime.block_on(database.drop());
    if let Err(panic) = told {
        std::panic::resume_unwind(panic);
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn tell(url: &str, cases: u32) {
    let long = std::env::var("SLIPWAY_LONG").is_ok_and(|long| long == "1");
    let cases = if long { cases * 20 } else { cases };
    let runtime = runtime();
    let machine = std::cell::RefCell::new(runtime.block_on(Machine::connect(url)));
    let config = Config { cases, max_shrink_iters: SHRINKS, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let told = runner.run(&Stories::sequential_strategy(STEPS), |(model, steps, seen)| {
        let count = || {
            if let Some(seen) = &seen {
                seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        };
        let told = runtime.block_on(machine.borrow_mut().story(&model.before, &steps, count));
        told.map_err(TestCaseError::fail)
    });
    runtime.block_on(machine.into_inner().real.db.close());
    match told {
        Ok(()) => {}
        Err(TestError::Fail(reason, (model, steps, _))) => {
            let steps = model.before.iter().chain(&steps);
            let steps: String = steps.map(|step| format!("  {:?} {:?}\n", step.said, step.op)).collect();
            panic!("{reason}\nthe shortest story found:\n{steps}");
        }
        Err(error) => panic!("{error}"),
    }
}

impl Machine {
    async fn connect(url: &str) -> Self {
        // One connection: whoever speaks after a cut waits until what was cut is undone.
        let db = Db::connect_sized(url, 1).await.expect("a fresh database opens");
        let env = Env { db, key: SecretKey::generate() };
        let (own, other) = (env.world("own").await, env.world("other").await);
        env.join_token("join", start()).await;
        let far = "far/standard/linux-amd64".parse().expect("a pool");
        env.db.create_join_token(new_id(), &token_hash("far"), &far, start()).await.expect("a join token");
        let tenants = vec![own.tenant, other.tenant];
        Self { real: Real::new(env.db, vec![own, other]), rows: Rows::connect(url).await, tenants }
    }

    async fn story(&mut self, before: &[Step], steps: &[Step], seen: impl Fn()) -> Result<(), String> {
        self.rows.clear().await;
        self.real.restart();
        let (mut model, mut watch) = (Model::default(), Watch::default());
        for (place, step) in before.iter().chain(steps).enumerate() {
            if place >= before.len() {
                seen();
            }
            self.step(step, &mut model, &mut watch).await.map_err(|error| format!("{step:?}: {error}"))?;
        }
        self.fall_quiet(model, watch).await
    }

    async fn step(&mut self, step: &Step, model: &mut Model, watch: &mut Watch) -> Result<(), String> {
        let Step { op, said } = step;
        let before = model.clone();
        model.take(step);
        let first = model.first.clone().expect("an answer");
        let second = model.second.clone();
        let same = |answer: &Answer, expected: &Answer| {
            if answer == expected { Ok(()) } else { Err(format!("answered {answer:?}, but should {expected:?}")) }
        };
        match (said, second) {
            (Said::AfterCut(looks), Some(second)) => {
                cut(self.real.answer(op, &before), *looks).await;
                let answer = self.real.answer(op, &before).await;
                watch.answer(op, &answer, before.now)?;
                if op.is_one_transaction() && answer != first {
                    same(&answer, &second)?;
                }
            }
            (_, second) => {
                for expected in std::iter::once(first).chain(second) {
                    let answer = self.real.answer(op, &before).await;
                    watch.answer(op, &answer, before.now)?;
                    same(&answer, &expected)?;
                }
            }
        }
        if matches!(op, Op::Wait { .. } | Op::Put { .. }) {
            return Ok(());
        }
        let (jobs, shown) = self.rows.compare(model, &self.tenants).await?;
        watch.rows(jobs, shown)?;
        match &self.rows.violations().await[..] {
            [] => Ok(()),
            violations => Err(format!("the rows hold {violations:?}")),
        }
    }

    /// Everybody stops; after a minute in which only sweepers work, tags show what they shall.
    async fn fall_quiet(&mut self, mut model: Model, mut watch: Watch) -> Result<(), String> {
        for _ in 0..3 {
            for op in [Op::Wait { secs: 30 }, Op::Sweep { ends: true }] {
                let step = Step { op, said: Said::Once };
                self.step(&step, &mut model, &mut watch).await.map_err(|error| format!("when quiet: {error}"))?;
            }
        }
        converged(&model).map_err(|error| format!("when quiet: {error}"))
    }
}
