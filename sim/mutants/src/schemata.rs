//! Mutant schemata: every mutant of a file is written into its text at once, each behind its switch.
//!
//! A mutant may stand within the original of another one; within what another one puts in its
//! place nothing is switched. With no mutant on, what is executed is the text as it was.

use std::ops::Range;

use crate::sites::Form;

/// One mutant of a file.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Its number.
    pub id: u32,
    /// The bytes of the original.
    pub range: Range<usize>,
    /// How it is switched.
    pub form: Form,
    /// What is put in its place.
    pub mutated: String,
}

/// A file with its mutants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The text.
    pub text: String,
    /// Where each mutant stands in it with its switch.
    pub places: Vec<(u32, Range<usize>)>,
}

/// Whether two originals overlap without one being within the other.
#[must_use]
pub fn cross(one: &Range<usize>, other: &Range<usize>) -> bool {
    let within = |inner: &Range<usize>, outer: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
    one.start < other.end && other.start < one.end && !within(one, other) && !within(other, one)
}

/// Writes `edits`, no two of which cross, into `text`.
#[must_use]
pub fn write(text: &str, edits: &[Edit]) -> Written {
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    // The outer one first; of two with the same original, the later one is outside.
    ordered.sort_by_key(|edit| (edit.range.start, std::cmp::Reverse(edit.range.end), std::cmp::Reverse(edit.id)));
    let mut writer = Writer { text, out: String::new(), places: Vec::new() };
    writer.write(0..text.len(), &ordered);
    Written { text: writer.out, places: writer.places }
}

struct Writer<'t> {
    text: &'t str,
    out: String,
    places: Vec<(u32, Range<usize>)>,
}

impl Writer<'_> {
    fn write(&mut self, range: Range<usize>, edits: &[&Edit]) {
        let (mut at, mut left) = (range.start, edits);
        while let Some((edit, rest)) = left.split_first() {
            let inner = rest.iter().take_while(|inner| inner.range.start < edit.range.end).count();
            self.out.push_str(&self.text[at..edit.range.start]);
            self.switch(edit, &rest[..inner]);
            at = edit.range.end;
            left = &rest[inner..];
        }
        self.out.push_str(&self.text[at..range.end]);
    }

    fn switch(&mut self, edit: &Edit, inner: &[&Edit]) {
        let began = self.out.len();
        let is_on = format!("crate::base::mutant::is({})", edit.id);
        let (before, after) = match edit.form {
            Form::Expression => (format!("(if {is_on} {{ {} }} else {{ ", edit.mutated), " })"),
            Form::Statement if edit.mutated.is_empty() => (format!("if !{is_on} {{ "), " }"),
            Form::Statement => (format!("if {is_on} {{ {} }} else {{ ", edit.mutated), " }"),
            Form::Body => (format!("{{ if !{is_on} "), " }"),
        };
        self.out.push_str(&before);
        self.write(edit.range.clone(), inner);
        self.out.push_str(after);
        self.places.push((edit.id, began..self.out.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(id: u32, text: &str, original: &str, form: Form, mutated: &str) -> Edit {
        let start = text.find(original).expect("the original is there");
        Edit { id, range: start..start + original.len(), form, mutated: mutated.to_owned() }
    }

    #[test]
    fn each_form_is_switched_in_its_own_way() {
        let text = "let x = a < b; f(); for y in z { g(); } h()";
        let written = write(
            text,
            &[
                edit(1, text, "a < b", Form::Expression, "a <= b"),
                edit(2, text, "f();", Form::Statement, ""),
                edit(3, text, "{ g(); }", Form::Body, "{}"),
                edit(4, text, "h()", Form::Statement, "i()"),
            ],
        );
        assert_eq!(
            written.text,
            "let x = (if crate::base::mutant::is(1) { a <= b } else { a < b }); \
             if !crate::base::mutant::is(2) { f(); } \
             for y in z { if !crate::base::mutant::is(3) { g(); } } \
             if crate::base::mutant::is(4) { i() } else { h() }"
        );
    }

    #[test]
    fn a_mutant_within_the_original_of_another_is_switched_there_alone() {
        let text = "f(a + 1);";
        let edits = [
            edit(7, text, "f(a + 1);", Form::Statement, ""),
            edit(8, text, "a + 1", Form::Expression, "a - 1"),
            edit(9, text, "a + 1", Form::Expression, "a + 2"),
        ];
        let written = write(text, &edits);
        let inner = "(if crate::base::mutant::is(8) { a - 1 } else { a + 1 })";
        let outer = format!("(if crate::base::mutant::is(9) {{ a + 2 }} else {{ {inner} }})");
        assert_eq!(written.text, format!("if !crate::base::mutant::is(7) {{ f({outer}); }}"));
        let place = |id| &written.text[written.places.iter().find(|(own, _)| *own == id).expect("it").1.clone()];
        assert_eq!((place(8), place(9), place(7)), (inner, outer.as_str(), written.text.as_str()));
    }

    #[test]
    fn originals_that_cross_are_told() {
        assert!(cross(&(0..5), &(3..8)) && cross(&(3..8), &(0..5)));
        assert!(!cross(&(0..5), &(5..8)) && !cross(&(0..5), &(1..5)) && !cross(&(0..5), &(0..5)));
    }
}
