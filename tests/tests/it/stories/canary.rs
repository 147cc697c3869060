//! A build prints its secrets in every form in which programs print such things. Nothing that is kept has them in any form:
//! no file of the service, no object with what is packed in it, no row of the database, no line of its own log.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use memchr::memmem;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use reqwest::Method;
use serde_json::json;
use slipway_runtime::ids::random_bytes;
use slipway_tests::scripted_engine::ScriptedEngine;
use slipway_tests::wait::eventually;
use slipway_tests::world::{Database, World};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::builds::{BUILD, finished, new_project, start_dockerfile};

/// What URLs need not escape (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Begins what zstd packed (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Bytes that a line of a Dockerfile has the engine write.
const LINE_BYTES: usize = 16_000;
/// What stands around each form, and stays.
const BEFORE: &str = "printed next:";

/// Two secrets that no other test knows: one with everything that some form escapes, and one of many lines.
fn canaries() -> [String; 2] {
    let random = || hex::encode(random_bytes::<12>());
    let key: String = (0..4).map(|_| format!("{}\n", STANDARD.encode(random_bytes::<36>()))).collect();
    [
        format!("canary {}/+é~\"<&>%{}", random(), random()),
        format!("-----BEGIN {}-----\n{key}-----END-----\n", random()),
    ]
}

fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}%{}{}", part[..2].to_lowercase(), &part[2..]))
}

fn json_text(value: &str) -> String {
    let quoted = json!(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn ascii(text: &str) -> String {
    text.chars().map(|it| if it.is_ascii() { it.to_string() } else { format!("\\u{:04x}", u32::from(it)) }).collect()
}

/// How programs print a value.
fn printed(value: &str) -> Vec<String> {
    let mut forms = vec![
        value.to_owned(),
        format!("{value}{value}"),
        format!("\u{1b}[31m{value}\u{1b}[0m"),
        value.lines().map(|line| format!("> {line}\r\n")).collect(),
        json_text(value),
        json_text(value).replace('/', "\\/"),
        json_text(value).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"),
        ascii(&json_text(value)),
    ];
    for text in [value, value.trim()] {
        let escaped = percent_encode(text.as_bytes(), ESCAPED).to_string();
        forms.extend([lower_escapes(&escaped), escaped.replace("%20", "+").replace('~', "%7E"), escaped]);
        for lead in ["", "u", "us", "usr", "user:"] {
            for tail in ["", "!", "!!", "\n"] {
                let beside = format!("{lead}{text}{tail}");
                forms.extend([STANDARD.encode(&beside), URL_SAFE.encode(&beside), STANDARD_NO_PAD.encode(&beside)]);
            }
        }
        forms.extend(text.lines().map(|line| STANDARD.encode(line)));
        forms.extend([hex::encode(text), hex::encode_upper(text)]);
        // What stands before it moves its lines' ends through it.
        for lead in (0..60).step_by(7).map(|length| "x".repeat(length)) {
            let beside = format!("{lead}{text}\n");
            forms.extend([
                wrapped(&STANDARD.encode(&beside), 76, "\n"),
                wrapped(&STANDARD.encode(&beside), 64, "\r\n"),
                wrapped(&hex::encode(&beside), 60, "\n"),
            ]);
        }
    }
    forms
}

/// As `base64`, `openssl` and `xxd` write what they encode.
fn wrapped(text: &str, width: usize, line_end: &str) -> String {
    let lines: Vec<&str> = (0..text.len()).step_by(width).map(|at| &text[at..text.len().min(at + width)]).collect();
    lines.join(line_end)
}

/// What must be nowhere: a value and its lines, each as it is, escaped, and as much of its base64 as depends on it alone.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for text in std::iter::once(value).chain(value.lines()).map(str::trim).filter(|text| text.len() > 12) {
        let escaped = percent_encode(text.as_bytes(), ESCAPED).to_string();
        let json = json_text(text);
        forms.extend([text.to_owned(), ascii(&json), json, lower_escapes(&escaped), escaped].map(String::into_bytes));
        for lead in 0..3 {
            let bytes = [&vec![0; lead][..], text.as_bytes()].concat();
            let own = (lead * 8).div_ceil(6)..bytes.len() * 8 / 6;
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                forms.push(engine.encode(&bytes)[own.clone()].as_bytes().to_vec());
            }
        }
    }
    forms
}

/// Looks for the forms in whatever is kept.
struct Search {
    forms: Vec<Vec<u8>>,
    looked_bytes: usize,
}

impl Search {
    fn look(&mut self, bytes: &[u8], at: &str) -> Result<()> {
        self.looked_bytes += bytes.len();
        for form in &self.forms {
            if let Some(place) = memmem::find(bytes, form) {
                let beside = &bytes[place.saturating_sub(80)..bytes.len().min(place + form.len() + 20)];
                anyhow::bail!("{at} has it: {}", beside.escape_ascii());
            }
        }
        Ok(())
    }

    /// A file and everything that is packed in it; how many bytes that is.
    fn file(&mut self, path: &Path) -> Result<usize> {
        let bytes = std::fs::read(path)?;
        self.look(&bytes, &path.display().to_string())?;
        let mut packed = 0;
        for at in memmem::find_iter(&bytes, &ZSTD) {
            let mut unpacked = Vec::new();
            // It may be none, or something else may stand behind it.
            let _ = zstd::stream::copy_decode(&bytes[at..], &mut unpacked);
            self.look(&unpacked, &format!("what is packed in {}", path.display()))?;
            packed += unpacked.len();
        }
        Ok(packed)
    }

    /// Every value of every row; how many rows there are.
    async fn database(&mut self, path: &Path) -> Result<usize> {
        let mut db = SqliteConnection::connect(&format!("sqlite://{}?mode=ro", path.display())).await?;
        let tables: Vec<String> =
            sqlx::query_scalar("select name from sqlite_master where type = 'table'").fetch_all(&mut db).await?;
        let mut rows = 0;
        for table in tables {
            let columns = format!("select name from pragma_table_info('{table}')");
            let columns: Vec<String> = sqlx::query_scalar(AssertSqlSafe(columns)).fetch_all(&mut db).await?;
            for column in columns {
                let values =
                    format!("select cast(\"{column}\" as blob) from \"{table}\" where \"{column}\" is not null");
                let values: Vec<Vec<u8>> = sqlx::query_scalar(AssertSqlSafe(values)).fetch_all(&mut db).await?;
                rows += values.len();
                for value in values {
                    self.look(&value, &format!("{table}.{column}"))?;
                }
            }
        }
        Ok(rows)
    }
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = std::fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            files.extend(files_below(&path)?);
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

#[tokio::test]
async fn a_secret_that_is_printed_in_every_form_is_kept_in_none() -> Result<()> {
    let engine = ScriptedEngine::start().await?;
    let Some(world) = World::start_scripted(&engine, Database::Sqlite, Vec::new()).await? else { return Ok(()) };
    let project = new_project(&world, "canary", json!({})).await?;
    let canaries = canaries();
    for (name, value) in ["one", "two"].iter().zip(&canaries) {
        let path = format!("/api/v1/projects/{}/secrets/{name}", project.1.id);
        let (status, answer) = world.api().call(Method::PUT, &path, Some(&json!({ "value": value }))).await?;
        ensure!(status.is_success(), "{status} {answer}");
    }
    let all: Vec<String> = canaries.iter().flat_map(|value| printed(value)).collect();
    let text: String = all.iter().map(|form| format!("{BEFORE} {form} and on it goes\n")).collect();
    let lines = text.as_bytes().chunks(LINE_BYTES).map(|part| format!("# script: bytes {}\n", hex::encode(part)));
    let script: String = lines.collect();
    let run = "RUN --mount=type=secret,id=one --mount=type=secret,id=two make\n";
    let mut logs = String::new();
    for end in ["", "# script: fail exit 3\n"] {
        let build = start_dockerfile(&world, &project, &format!("FROM scratch\n{script}{end}{run}")).await?;
        let (build, job) = finished(&world, &build).await?;
        ensure!(build.state == if end.is_empty() { "succeeded" } else { "failed" }, "{job:?}");
        if let Some(failure) = &job.failure {
            ensure!(failure.last_lines.iter().any(|line| line.contains("***")), "{failure:?}");
        }
        world.api().sealed_log_length(&job.id, BUILD).await?;
        let log = world.api().log(&job.id).await?;
        let (told, masked) = (log.matches(BEFORE).count(), log.matches("***").count());
        ensure!(told == all.len() && masked >= all.len(), "{told} forms of {} were told, {masked} masked", all.len());
        logs.push_str(&log);
    }

    let mut search = Search { forms: canaries.iter().flat_map(|value| forms(value)).collect(), looked_bytes: 0 };
    ensure!(search.look(text.as_bytes(), "what was printed").is_err(), "the search finds nothing");
    search.look(logs.as_bytes(), "the log")?;
    // The Dockerfile, which is kept, tells the engine in hexadecimal what to write.
    let hexadecimal = canaries.iter().flat_map(|value| [hex::encode(value.trim()), hex::encode_upper(value.trim())]);
    let mut unwrapped = Search { forms: search.forms.clone(), looked_bytes: 0 };
    unwrapped.forms.extend(hexadecimal.map(String::into_bytes));
    unwrapped.look(logs.replace("\r\n", "\n").replace('\n', "").as_bytes(), "the log without its line breaks")?;
    let data = world.slipway.data_dir();
    let spool = data.join("builder/spool");
    eventually("an empty spool", BUILD, || async { Ok(files_below(&spool)?.is_empty().then_some(())) }).await?;
    let mut packed = 0;
    for file in files_below(&data)? {
        packed += search.file(&file)?;
    }
    ensure!(packed >= logs.len(), "{packed} bytes of objects were looked at, of {}", logs.len());
    let rows = search.database(&data.join("slipway.db")).await?;
    ensure!(rows > 100, "{rows} values of rows were looked at");
    search.file(&world.slipway.log())?;
    let bodies = world.api().call(Method::GET, "/api/v1/builds", None).await?.1;
    search.look(bodies.to_string().as_bytes(), "what the API says").context("builds")
}
