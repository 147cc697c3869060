//! Characters that change the direction of text. In a name they make it, and what stands beside it, read as something else.

/// True for marks, embeddings, overrides and isolates of direction (Unicode Standard Annex 9, section 2), which are not
/// seen themselves. Letters that are written from right to left are none of them.
pub fn is_control(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_any_direction_are_no_controls() {
        assert!("\u{61c}\u{200e}\u{200f}\u{202a}\u{202e}\u{2066}\u{2069}".chars().all(is_control));
        assert!(!"a \u{5d0}\u{627}\u{200d}\u{2065}\u{206a}\u{202f}\u{feff}\n".chars().any(is_control));
    }
}
