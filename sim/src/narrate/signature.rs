//! What makes two failing seeds likely to be the same bug: the property that failed first, and its
//! evidence with everything taken out that differs from seed to seed.

use crate::verdict::Violation;

/// How long the evidence in a signature is at most, in characters.
const EVIDENCE_MAX: usize = 110;

/// The signature of a run: that of its first violation. None of a run that passed.
#[must_use]
pub fn signature(violations: &[Violation]) -> Option<String> {
    let first = *super::firsts(violations).first()?;
    Some(format!("{}: {}", first.property, shortened(&normalised(&first.evidence))))
}

/// Numbers become N, of whichever base, and those at the end of a name; several in a list become one.
fn normalised(evidence: &str) -> String {
    let mut text = String::new();
    let mut word = String::new();
    for character in evidence.chars().chain(['\n']) {
        if character.is_alphanumeric() {
            word.push(character);
            continue;
        }
        let named = word.trim_end_matches(|last: char| last.is_ascii_digit());
        text.push_str(if is_number(&word) { "" } else { named });
        text.push_str(if named.len() < word.len() || is_number(&word) { "N" } else { "" });
        word.clear();
        text.push(if character == '\n' { ' ' } else { character });
    }
    for (several, one) in [("N.N", "N"), ("N..=N", "N"), ("N..N", "N"), ("-N", "N")] {
        text = text.replace(several, one);
    }
    while text.contains("N, N") {
        text = text.replace("N, N", "N");
    }
    text.trim_end().to_owned()
}

/// Whether a word is a number, or one in all but a letter or two: `0x1f`, `12ms`, `1st`.
fn is_number(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_digit())
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= EVIDENCE_MAX {
        return text.to_owned();
    }
    text.chars().take(EVIDENCE_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::Property;

    fn violation(time_ns: u64, property: Property, evidence: &str) -> Violation {
        Violation { property, evidence: evidence.to_owned(), time_ns, involved: Vec::new() }
    }

    #[test]
    fn the_same_bug_on_other_brokers_and_offsets_has_the_same_signature() {
        let one = "broker 2 became leader of synced-0 in epoch 1 with its log ending at 0, while offset 188 had been exposed; missing: offsets 0..=0 of leader epoch 0 (crc 0xd0935b5e)";
        let other = "broker 3 became leader of synced-2 in epoch 14 with its log ending at 71, while offset 90 had been exposed; missing: offsets 71..=89 of leader epoch 3 (crc 0x1f)";
        let signature_of = |evidence| signature(&[violation(5, Property::LeaderCompleteness, evidence)]);
        assert_eq!(signature_of(one), signature_of(other));
        let text = signature_of(one).expect("it failed");
        assert!(
            text.starts_with("leader_completeness: broker N became leader of syncedN in epoch N with its log"),
            "{text}"
        );
    }

    #[test]
    fn what_showed_first_as_it_came_about_names_the_seed() {
        let of_the_end = violation(9, Property::Availability, "everything stands still");
        // It is dated by the send that was lost, long before it was lost.
        let dated_back = violation(1, Property::LostWrite, "value 7 is gone");
        let first = violation(3, Property::LogMatching, "values 1, 2, 3 of /registers/r7 differ");
        let second = violation(4, Property::LeaderCompleteness, "offset 3 is missing");
        let all = [of_the_end, dated_back, second, first];
        assert_eq!(signature(&all), Some("log_matching: values N of /registers/rN differ".to_owned()));
        let order = super::super::firsts(&all);
        assert_eq!(order.iter().map(|one| one.time_ns).collect::<Vec<_>>(), [3, 4, 1, 9]);
        assert_eq!(super::super::went_wrong_ns(&all), Some(3));
        assert_eq!(super::super::went_wrong_ns(&all[..2]), None);
        assert_eq!(signature(&[]), None);
    }

    #[test]
    fn a_signature_is_one_short_line() {
        let text = signature(&[violation(1, Property::Unseen, &"word\n".repeat(100))]).expect("it failed");
        assert!(!text.contains('\n') && text.chars().count() < 140, "{text}");
    }
}
