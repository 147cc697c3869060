//! What newer engines say about an error beside its text: `google.rpc.Status` in `grpc-status-details-bin`, whose
//! details are JSON under names like `github.com/moby/buildkit/errdefs.Source+json` (BuildKit's
//! `util/grpcerrors` and `solver/errdefs`). Data of an engine: what cannot be read is passed over.

use std::collections::BTreeMap;

use bollard_buildkit_proto::google::rpc::Status;
use prost::Message as _;
use serde::Deserialize;

use crate::error::{Said, Source};

/// Most details, and lines of one, that are looked at.
const MAX_DETAILS: usize = 100;

#[derive(Deserialize)]
struct SourceDetail {
    info: Option<Info>,
    #[serde(default)]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    filename: String,
}

#[derive(Deserialize)]
struct Range {
    start: Option<Position>,
    end: Option<Position>,
}

#[derive(Deserialize)]
struct Position {
    #[serde(default)]
    line: i64,
}

#[derive(Deserialize)]
struct VertexDetail {
    #[serde(default)]
    digest: String,
}

#[derive(Deserialize)]
struct SolveDetail {
    #[serde(default)]
    description: BTreeMap<String, String>,
}

/// Adds what the bytes of `grpc-status-details-bin` tell.
pub fn read(details: &[u8], mut said: Said) -> Said {
    let Ok(status) = Status::decode(details) else { return said };
    for detail in status.details.iter().take(MAX_DETAILS) {
        let kind = detail.type_url.rsplit(['/', '.']).next().unwrap_or_default();
        match kind {
            "Source+json" => said.sources.extend(parse(&detail.value).and_then(source)),
            "Vertex+json" => said.vertex = said.vertex.or_else(|| parse(&detail.value).and_then(vertex)),
            "Solve+json" if said.description.is_empty() => {
                let solve: Option<SolveDetail> = parse(&detail.value);
                said.description = solve.map(|solve| solve.description.into_iter().collect()).unwrap_or_default();
            }
            _ => {}
        }
    }
    said
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn source(detail: SourceDetail) -> Option<Source> {
    let line = |position: &Option<Position>| position.as_ref().and_then(|at| u32::try_from(at.line).ok());
    let lines = detail.ranges.iter().take(MAX_DETAILS).filter_map(|range| {
        let start = line(&range.start).filter(|line| *line > 0)?;
        Some((start, line(&range.end).unwrap_or(start).max(start)))
    });
    Some(Source { file: detail.info?.filename, lines: lines.collect() })
}

fn vertex(detail: VertexDetail) -> Option<String> {
    Some(detail.digest).filter(|digest| !digest.is_empty())
}

#[cfg(test)]
mod tests {
    use bollard_buildkit_proto::google::protobuf::Any;
    use proptest::prelude::*;

    use super::*;

    fn details(all: &[(&str, &str)]) -> Vec<u8> {
        let any = |(kind, value): &(&str, &str)| Any {
            type_url: format!("github.com/moby/buildkit/errdefs.{kind}"),
            value: value.as_bytes().to_vec(),
        };
        Status { code: 2, message: String::new(), details: all.iter().map(any).collect() }.encode_to_vec()
    }

    #[test]
    fn file_lines_vertex_and_description_are_read() {
        let bytes = details(&[
            ("Vertex+json", r#"{"digest":"sha256:1"}"#),
            (
                "Source+json",
                r#"{"info":{"filename":"Dockerfile","data":"RlJPTQ=="},
                    "ranges":[{"start":{"line":3},"end":{"line":4}},{"start":{"line":6},"end":{}},{"start":{}}]}"#,
            ),
            ("Solve+json", r#"{"inputIDs":["x"],"op":{"Op":{"Exec":{}}},"description":{"llb.customname":"RUN x"}}"#),
            ("FrontendCap+json", r#"{"name":"x"}"#),
        ]);
        let said = read(&bytes, Said { message: "m".to_owned(), ..Said::default() });
        let source = Source { file: "Dockerfile".to_owned(), lines: vec![(3, 4), (6, 6)] };
        assert_eq!(
            said,
            Said {
                message: "m".to_owned(),
                sources: vec![source],
                vertex: Some("sha256:1".to_owned()),
                description: vec![("llb.customname".to_owned(), "RUN x".to_owned())],
                ..Said::default()
            }
        );
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let bytes = details(&[("Source+json", "{"), ("Source+json", r#"{"ranges":[]}"#), ("Vertex+json", "[]")]);
        assert_eq!(read(&bytes, Said::default()), Said::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200), json in "\\PC{0,60}") {
            read(&bytes, Said::default());
            read(&details(&[("Source+json", &json), ("Solve+json", &json)]), Said::default());
        }
    }
}
