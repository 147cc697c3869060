//! What compilers and tests write, the same every time: lines of about 120 bytes that begin as those of `log` do, some of
//! them coloured.

use std::iter;
use std::mem;

use super::script::{bits, head};

const ROOMS: [&str; 8] = ["net", "storage", "parser", "render", "codec", "sched", "auth", "index"];
const THINGS: [&str; 8] = ["session", "buffer", "lease", "cursor", "frame", "segment", "handshake", "queue"];

/// So many lines in pieces of this size, which end anywhere in a line; the last one may be shorter.
pub fn output_pieces(lines: usize, piece_bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut numbers = 1..=lines;
    let mut made = Vec::new();
    iter::from_fn(move || {
        while made.len() < piece_bytes
            && let Some(number) = numbers.next()
        {
            made.extend(line(number).into_bytes());
        }
        let rest = made.split_off(made.len().min(piece_bytes));
        let piece = mem::replace(&mut made, rest);
        (!piece.is_empty()).then_some(piece)
    })
}

fn line(number: usize) -> String {
    let dice = bits(number);
    let pick = |words: [&'static str; 8], from: u32| words[(dice >> from & 7) as usize];
    let (room, thing, other) = (pick(ROOMS, 8), pick(THINGS, 11), pick(THINGS, 14));
    let (file, took) = (dice >> 17 & 0xfff, dice >> 29 & 0xfff);
    let said = match dice & 15 {
        0..=6 => format!(
            "[{:3}%] Building CXX object src/{room}/CMakeFiles/{room}.dir/{thing}_{other}_{file:04}.cpp.o ({took} ms)",
            took % 101
        ),
        7..=11 => {
            format!("test {room}::{thing}::{other}_{file:04}_survives_a_restart ... \x1b[32mok\x1b[0m ({took} ms)")
        }
        12 => format!(
            "\x1b[1;33mwarning\x1b[0m\x1b[1m: unused variable: `{thing}`\x1b[0m --> src/{room}/{other}_{file:04}.rs:{took}:17 \
             (`#[warn(unused_variables)]` is on by default)"
        ),
        13 => format!(
            "cc -shared -Wl,-soname,lib{room}.so.{took} -o lib/lib{room}.so.{took} {room}/{thing}_{file:04}.o \
             {room}/{other}_{file:04}.o {room}/{thing}_of_{other}.o -Wl,--as-needed -lpthread -lm"
        ),
        14 => format!(
            "\x1b[38;5;244m2026-11-22T03:14:15.{:06}Z\x1b[0m \x1b[36mINFO\x1b[0m {room}: the {thing} of {other} {file} went on",
            took * 244
        ),
        _ => format!("ok  \texample.org/{room}/{thing}/{other}\t{took} ms\tcoverage: {} of statements", file % 101),
    };
    format!("{} {said}\n", head(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: usize = 20_000;

    fn whole(piece_bytes: usize) -> String {
        String::from_utf8(output_pieces(LINES, piece_bytes).collect::<Vec<_>>().concat()).unwrap()
    }

    #[test]
    fn lines_are_long_numbered_and_partly_coloured() {
        let text = whole(8000);
        let bytes = text.len() / LINES;
        assert!((120..123).contains(&bytes), "{bytes} bytes a line");
        for (at, line) in text.lines().enumerate() {
            assert!(line.starts_with(&format!("{} ", head(at + 1))), "{line}");
        }
        let coloured = text.lines().filter(|line| line.contains('\x1b')).count();
        assert!((LINES / 4..LINES / 2).contains(&coloured), "{coloured} have colours");
    }

    #[test]
    fn pieces_of_any_size_make_the_same_text() {
        assert_eq!(whole(7777), whole(256 << 10));
        let pieces: Vec<_> = output_pieces(100, 1000).collect();
        let (last, others) = pieces.split_last().unwrap();
        assert!(others.iter().all(|piece| piece.len() == 1000) && (1..=1000).contains(&last.len()));
        assert_eq!(output_pieces(0, 1000).count(), 0);
    }
}
