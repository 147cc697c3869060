//! One line of a log as a terminal would show it: coloured runs of text, after carriage returns, cursor
//! moves and erasing (ECMA-48, as xterm reads it). A terminal of one line without an end to the right: what
//! moves between lines moves nothing here. The result is safe to show: no control characters, no characters
//! that reverse text, no links but to the web, and bounds on its size and on the work for any input.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use unicode_width::UnicodeWidthChar;
use vte::{Params, ParamsIter, Parser, Perform};

/// A line is cut off after so many display columns.
pub const MAX_COLUMNS: usize = 65_536;

/// What would be a further run goes on in the style and link of the last one.
pub const MAX_RUNS: usize = 4_096;

/// A longer target of a link is dropped.
pub const MAX_URL_BYTES: usize = 2_048;

/// The targets of all runs of a line together: past this, runs come without their link. Else one long
/// target would be repeated for every change of colour.
pub const MAX_LINK_BYTES: usize = 64 << 10;

/// Cells of a line that are filled or moved by sequences, for whose cost no printed byte pays. Past this,
/// such sequences do nothing; else a short line could ask for any amount of work.
pub const MAX_BULK_CELLS: usize = 4 << 20;

const TAB_COLUMNS: usize = 8;

/// vte silently drops what stands behind so many parameters of an OSC.
const MAX_OSC_PARAMS: usize = 16;

/// What a terminal shows of one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// From left to right, none empty, neighbours differ; at most [`MAX_RUNS`].
    pub runs: Vec<Run>,
    /// Display columns, at most [`MAX_COLUMNS`]: wide characters have two, combining ones none.
    pub width: usize,
}

/// Text in one style.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Without control characters.
    pub text: String,
    #[serde(flatten)]
    pub style: Style,
    /// A target that begins with `http://` or `https://`, at most [`MAX_URL_BYTES`] long.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_link")]
    pub link: Option<Arc<str>>,
}

/// How text looks. In JSON, only what differs from plain text is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Style {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bold: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub faint: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub italic: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub underline: bool,
    /// The reader swaps `fg` and `bg`, which stand here unswapped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inverse: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub strike: bool,
    /// None: the theme's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fg: Option<Colour>,
    /// None: the theme's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bg: Option<Colour>,
}

/// In JSON a number or `"#rrggbb"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Colour {
    /// 0 to 15, which the theme gives a colour.
    Named(u8),
    /// Red, green, blue.
    Rgb(u8, u8, u8),
}

impl Serialize for Colour {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Named(index) => serializer.serialize_u8(*index),
            Self::Rgb(red, green, blue) => serializer.collect_str(&format_args!("#{red:02x}{green:02x}{blue:02x}")),
        }
    }
}

/// What a terminal shows of `line`, one line of bytes without its line break. Every line begins plain and
/// unlinked. Bytes that are no UTF-8 and characters that change the direction of text become U+FFFD; a tab
/// becomes spaces; a sequence that never ends takes the rest of the line with it. The work is linear in the
/// length of the line plus a constant.
pub fn shown(line: &[u8]) -> Shown {
    shown_within(line, &mut { MAX_BULK_CELLS })
}

/// The same with what is left of an allowance for moving cells about, which many lines share: once it is used up, moves that
/// would take more are ignored.
pub fn shown_within(line: &[u8], cells_left: &mut usize) -> Shown {
    // vte searches the whole rest of the line again after each invalid byte, so it gets none.
    let line = String::from_utf8_lossy(line);
    let mut screen = Screen { bulk_cells_left: *cells_left, ..Screen::default() };
    Parser::new().advance(&mut screen, line.as_bytes());
    *cells_left = screen.bulk_cells_left;
    screen.shown()
}

fn serialize_link<S: Serializer>(link: &Option<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    link.as_deref().serialize(serializer)
}

/// The one line of the terminal.
struct Screen {
    /// At most [`MAX_COLUMNS`].
    cells: Vec<Cell>,
    /// The cursor, at most [`MAX_COLUMNS`].
    column: usize,
    pen: Pen,
    /// All pens that wrote; the first is plain.
    pens: Vec<Pen>,
    /// Characters with their combining ones.
    clusters: Vec<String>,
    bulk_cells_left: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Pen {
    style: Style,
    link: Option<Arc<str>>,
}

/// One display column.
#[derive(Debug, Clone, Copy)]
struct Cell {
    glyph: Glyph,
    /// Index into the pens.
    pen: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glyph {
    /// Never printed on, or erased: a space, but nothing at the end of the line.
    Blank,
    Char(char),
    /// Index into the clusters.
    Cluster(usize),
    /// A further column of the wide character to the left.
    Tail,
}

const BLANK: Cell = Cell { glyph: Glyph::Blank, pen: 0 };

impl Default for Screen {
    fn default() -> Self {
        Self {
            cells: Vec::new(),
            column: 0,
            pen: Pen::default(),
            pens: vec![Pen::default()],
            clusters: Vec::new(),
            bulk_cells_left: MAX_BULK_CELLS,
        }
    }
}

impl Perform for Screen {
    fn print(&mut self, character: char) {
        let character = if is_bidi_control(character) { char::REPLACEMENT_CHARACTER } else { character };
        match character.width() {
            // DEL; vte executes the other control characters.
            None => {}
            Some(0) => self.combine(character),
            Some(width) => self.put(character, width),
        }
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.column = 0,
            b'\x08' => self.column = self.column.saturating_sub(1),
            b'\t' => self.move_to((self.column / TAB_COLUMNS + 1) * TAB_COLUMNS),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let param = |index: usize| params.iter().nth(index).and_then(|values| values.first()).copied().unwrap_or(0);
        let count = usize::from(param(0).max(1));
        match action {
            'm' => self.pen.style.apply(params),
            'C' => self.move_to(self.column + count),
            'D' => self.column = self.column.saturating_sub(count),
            'G' => self.move_to(count - 1),
            'H' | 'f' => self.move_to(usize::from(param(1).max(1)) - 1),
            'E' | 'F' => self.column = 0,
            'K' => match param(0) {
                0 => self.erase(self.column, MAX_COLUMNS),
                1 => self.erase(0, self.column + 1),
                2 => self.erase(0, MAX_COLUMNS),
                _ => {}
            },
            'X' => self.erase(self.column, self.column + count),
            'P' => self.delete(count),
            '@' => self.insert(count),
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _bell_terminated: bool) {
        // OSC 8 ; attributes ; target. A target may itself hold semicolons.
        if let [b"8", rest @ ..] = params {
            let whole = params.len() < MAX_OSC_PARAMS;
            self.pen.link = rest.get(1..).filter(|_| whole).and_then(|target| web_link(target.join(&b';')));
        }
    }
}

impl Screen {
    fn move_to(&mut self, column: usize) {
        self.column = column.min(MAX_COLUMNS);
    }

    fn put(&mut self, character: char, width: usize) {
        let end = self.column + width;
        let gap = self.column.saturating_sub(self.cells.len());
        if end > MAX_COLUMNS || !self.spend(gap) {
            return;
        }
        self.cut_at(self.column);
        self.cut_at(end);
        if self.cells.len() < end {
            self.cells.resize(end, BLANK);
        }
        let pen = self.pen_index();
        for cell in self.cells.iter_mut().skip(self.column).take(width) {
            *cell = Cell { glyph: Glyph::Tail, pen };
        }
        if let Some(cell) = self.cells.get_mut(self.column) {
            cell.glyph = Glyph::Char(character);
        }
        self.column = end;
    }

    /// Adds a character without a width to the one before the cursor; where there is none, it is dropped.
    fn combine(&mut self, mark: char) {
        let before = self.cells.get_mut(..self.column).unwrap_or_default();
        let Some(cell) = before.iter_mut().rfind(|cell| cell.glyph != Glyph::Tail) else { return };
        match cell.glyph {
            Glyph::Blank | Glyph::Tail => {}
            Glyph::Char(character) => {
                cell.glyph = Glyph::Cluster(self.clusters.len());
                self.clusters.push(String::from_iter([character, mark]));
            }
            Glyph::Cluster(index) => {
                if let Some(cluster) = self.clusters.get_mut(index) {
                    cluster.push(mark);
                }
            }
        }
    }

    /// Makes the columns from `start` up to but without `end` blank.
    fn erase(&mut self, start: usize, end: usize) {
        if start >= self.cells.len() {
            return;
        }
        if end >= self.cells.len() {
            self.cut_at(start);
            self.cells.truncate(start);
        } else if self.spend(end.saturating_sub(start)) {
            self.cut_at(start);
            self.cut_at(end);
            self.cells.get_mut(start..end).unwrap_or_default().fill(BLANK);
        }
    }

    /// Takes `count` cells out at the cursor; what is right of them moves left.
    fn delete(&mut self, count: usize) {
        let end = (self.column + count).min(self.cells.len());
        if self.column < end && self.spend(self.cells.len() - self.column) {
            self.cut_at(self.column);
            self.cut_at(end);
            self.cells.drain(self.column..end);
        }
    }

    /// Puts `count` blank cells in at the cursor; what is right of them moves right.
    fn insert(&mut self, count: usize) {
        let count = count.min(MAX_COLUMNS.saturating_sub(self.column));
        if self.column < self.cells.len() && self.spend(self.cells.len() - self.column + count) {
            self.cut_at(self.column);
            self.cells.splice(self.column..self.column, std::iter::repeat_n(BLANK, count));
            self.cut_at(MAX_COLUMNS);
            self.cells.truncate(MAX_COLUMNS);
        }
    }

    /// Makes a wide character blank that stands on both sides of the left border of `column`.
    fn cut_at(&mut self, column: usize) {
        if self.cells.get(column).is_none_or(|cell| cell.glyph != Glyph::Tail) {
            return;
        }
        let before = self.cells.get_mut(..column).unwrap_or_default();
        let tails = before.iter().rev().take_while(|cell| cell.glyph == Glyph::Tail).count();
        for cell in before.iter_mut().rev().take(tails + 1) {
            *cell = BLANK;
        }
        for cell in self.cells.iter_mut().skip(column).take_while(|cell| cell.glyph == Glyph::Tail) {
            *cell = BLANK;
        }
    }

    /// False when so many cells are more than what is left for the line.
    fn spend(&mut self, cells: usize) -> bool {
        let left = self.bulk_cells_left.checked_sub(cells);
        self.bulk_cells_left = left.unwrap_or(0);
        left.is_some()
    }

    fn pen_index(&mut self) -> usize {
        if self.pens.last() != Some(&self.pen) {
            self.pens.push(self.pen.clone());
        }
        self.pens.len() - 1
    }

    fn shown(&self) -> Shown {
        let last = self.cells.iter().rposition(|cell| cell.glyph != Glyph::Blank);
        let width = last.map_or(0, |last| last + 1);
        Shown { runs: self.runs(width), width }
    }

    fn runs(&self, width: usize) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut last_pen = None;
        let mut link_bytes = 0;
        for cell in self.cells.iter().take(width) {
            if last_pen != Some(cell.pen) && runs.len() < MAX_RUNS {
                last_pen = Some(cell.pen);
                let Pen { style, link } = self.pens.get(cell.pen).cloned().unwrap_or_default();
                link_bytes += link.as_ref().map_or(0, |link| link.len());
                let link = link.filter(|_| link_bytes <= MAX_LINK_BYTES);
                if runs.last().is_none_or(|run| run.style != style || run.link != link) {
                    runs.push(Run { text: String::new(), style, link });
                }
            }
            let Some(run) = runs.last_mut() else { break };
            match cell.glyph {
                Glyph::Blank => run.text.push(' '),
                Glyph::Char(character) => run.text.push(character),
                Glyph::Cluster(index) => run.text.extend(self.clusters.get(index).map(String::as_str)),
                Glyph::Tail => {}
            }
        }
        runs
    }
}

impl Style {
    /// Select graphic rendition: ECMA-48 8.3.117, colours also in the colon form of ITU-T T.416.
    fn apply(&mut self, params: &Params) {
        let mut params = params.iter();
        while let Some(param) = params.next() {
            match *param {
                [38] => self.fg = next_colour(&mut params).or(self.fg),
                [48] => self.bg = next_colour(&mut params).or(self.bg),
                // The colour of underlines: not shown, but its parameters must not be read as others.
                [58] => drop(next_colour(&mut params)),
                [38, ref colour @ ..] => self.fg = colon_colour(colour).or(self.fg),
                [48, ref colour @ ..] => self.bg = colon_colour(colour).or(self.bg),
                [4, shape] => self.underline = shape != 0,
                [code] => self.apply_code(code),
                _ => {}
            }
        }
    }

    fn apply_code(&mut self, code: u16) {
        match code {
            0 => *self = Self::default(),
            1 => self.bold = true,
            2 => self.faint = true,
            3 => self.italic = true,
            4 | 21 => self.underline = true,
            7 => self.inverse = true,
            9 => self.strike = true,
            22 => (self.bold, self.faint) = (false, false),
            23 => self.italic = false,
            24 => self.underline = false,
            27 => self.inverse = false,
            29 => self.strike = false,
            30..=37 => self.fg = indexed(code - 30),
            39 => self.fg = None,
            40..=47 => self.bg = indexed(code - 40),
            49 => self.bg = None,
            90..=97 => self.fg = indexed(code - 90 + 8),
            100..=107 => self.bg = indexed(code - 100 + 8),
            _ => {}
        }
    }
}

/// The colour after `38;` or `48;`: `5;n` or `2;r;g;b`.
fn next_colour(params: &mut ParamsIter<'_>) -> Option<Colour> {
    let mut next = || params.next().and_then(|param| param.first()).copied();
    match next()? {
        5 => indexed(next()?),
        2 => rgb(next()?, next()?, next()?),
        _ => None,
    }
}

/// The colour after `38:` or `48:`: as above, or with a colour space before red.
fn colon_colour(values: &[u16]) -> Option<Colour> {
    match *values {
        [5, index, ..] => indexed(index),
        [2, red, green, blue] | [2, _, red, green, blue, ..] => rgb(red, green, blue),
        _ => None,
    }
}

fn rgb(red: u16, green: u16, blue: u16) -> Option<Colour> {
    let [red, green, blue] = [red, green, blue].map(|value| u8::try_from(value).ok());
    Some(Colour::Rgb(red?, green?, blue?))
}

/// The palette of xterm: 16 that the theme names, a cube of 6 by 6 by 6, and 24 greys.
fn indexed(index: u16) -> Option<Colour> {
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    match u8::try_from(index).ok()? {
        index @ 0..=15 => Some(Colour::Named(index)),
        index @ 16..=231 => {
            let cube = index - 16;
            Some(Colour::Rgb(level(cube / 36), level(cube / 6 % 6), level(cube % 6)))
        }
        index @ 232.. => {
            let grey = 8 + 10 * (index - 232);
            Some(Colour::Rgb(grey, grey, grey))
        }
    }
}

/// None for anything that is not plainly a web address.
fn web_link(target: Vec<u8>) -> Option<Arc<str>> {
    let target = String::from_utf8(target).ok()?;
    let address = target.strip_prefix("https://").or_else(|| target.strip_prefix("http://"))?;
    let sound = !address.is_empty()
        && target.len() <= MAX_URL_BYTES
        && !target.contains(|character: char| character.is_control() || is_bidi_control(character));
    sound.then(|| Arc::from(target))
}

/// Characters that make text read in another order than it stands.
fn is_bidi_control(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
