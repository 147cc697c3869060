//! "Did you mean": the known name that is closest to a misspelt one.

/// The known name with the smallest edit distance, if it is close enough to be what was meant.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).collect();
    known
        .iter()
        .map(|name| (distance(&word, name), *name))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| name)
}

/// Levenshtein distance without regard to case.
fn distance(word: &[char], name: &str) -> usize {
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (i, name_char) in name.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, word_char) in word.iter().enumerate() {
            let change = usize::from(!name_char.eq_ignore_ascii_case(word_char));
            let best = (diagonal + change).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    row[word.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["dockerfile", "context", "target", "args", "tags"];
        assert_eq!(nearest("docker_file", &known), Some("dockerfile"));
        assert_eq!(nearest("Target", &known), Some("target"));
        assert_eq!(nearest("contxt", &known), Some("context"));
        assert_eq!(nearest("arg", &known), Some("args"));
        assert_eq!(nearest("something", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
