//! The places of a source file that can be mutated, and how.
//!
//! Left out: tests, constants (a mutant is switched at run time), what is built for people to read
//! (`Display` and `Debug`) and for the models (`Hash`), the arguments of macros, what is told to an observer (the real runtime writes it to its
//! log), and whatever names a planted bug.

use std::ops::Range;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Expr, Stmt};

use crate::operators::{self, Change};

/// How a change is put behind its switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `(if on { mutated } else { original })`
    Expression,
    /// `if on { mutated } else { original }`, or `if !on { original }` where nothing is put in its place.
    Statement,
    /// A block whose content is switched: `{ if !on { original } }`.
    Body,
}

/// One change that could be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The file, from the root of the tree.
    pub file: String,
    /// The function around it, with what it belongs to.
    pub function: String,
    /// The line, from 1.
    pub line: usize,
    /// The bytes of the original.
    pub range: Range<usize>,
    /// The operator.
    pub operator: &'static str,
    /// How it is switched.
    pub form: Form,
    /// The original text.
    pub original: String,
    /// What stands in its place.
    pub mutated: String,
}

/// A source file.
pub struct Source {
    /// From the root of the tree.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// What a file offers.
pub struct Offer {
    /// Every site, in the order of the text.
    pub sites: Vec<Site>,
    /// Its lines of code outside of tests, from 1: neither blank nor a comment.
    pub lines: Vec<usize>,
    /// Modules that are built for tests alone, and stand in files of their own.
    pub test_modules: Vec<String>,
}

impl Source {
    /// The text of a node.
    pub(crate) fn text(&self, node: &impl Spanned) -> String {
        self.text[operators::range(node)].to_owned()
    }

    /// The text of arguments, without their parentheses.
    pub(crate) fn texts<P>(&self, arguments: &syn::punctuated::Punctuated<Expr, P>) -> String {
        let texts: Vec<String> = arguments.iter().map(|argument| self.text(argument)).collect();
        texts.join(", ")
    }

    /// Every place of it that can be mutated.
    pub fn offer(&self) -> syn::Result<Offer> {
        let file = syn::parse_file(&self.text)?;
        let mut finder =
            Finder { source: self, names: Vec::new(), sites: Vec::new(), tests: Vec::new(), modules: Vec::new() };
        finder.visit_file(&file);
        let is_code = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        let in_tests = |line: &usize| finder.tests.iter().any(|lines| lines.contains(line));
        let lines = self.text.lines().enumerate().filter(|(_, line)| is_code(line)).map(|(index, _)| index + 1);
        let lines = lines.filter(|line| !in_tests(line)).collect();
        let mut sites = finder.sites;
        sites.sort_by_key(|site| (site.range.start, site.range.end));
        Ok(Offer { sites, lines, test_modules: finder.modules })
    }
}

struct Finder<'s> {
    source: &'s Source,
    /// The names around the present node.
    names: Vec<String>,
    sites: Vec<Site>,
    /// The lines of tests.
    tests: Vec<Range<usize>>,
    modules: Vec<String>,
}

impl Finder<'_> {
    fn offer(&mut self, node: &impl Spanned, change: Change) {
        let range = operators::range(node);
        let original = &self.source.text[range.clone()];
        // A planted bug is the simulator's own; an edit that says the same is none.
        if original.contains("lant::")
            || original.contains("plants")
            || original.contains("PLANTS")
            || original == change.mutated
        {
            return;
        }
        let LineColumn { line, .. } = node.span().start();
        self.sites.push(Site {
            file: self.source.path.clone(),
            function: self.names.join("::"),
            line,
            range,
            operator: change.operator,
            form: change.form,
            original: original.to_owned(),
            mutated: change.mutated,
        });
    }

    fn within(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        self.names.push(name);
        visit(self);
        self.names.pop();
    }

    /// Tests, and functions of which their doc says that they are a planted bug's alone, are not the product's.
    fn skip_if_foreign(&mut self, node: &impl Spanned, attributes: &[Attribute]) -> bool {
        let is_foreign = attributes.iter().any(|attribute| {
            let text = self.source.text(attribute);
            let is_planted = text.contains("he planted bug") || text.contains("nly a planted bug");
            text.contains("cfg(test)") || text == "#[test]" || text.starts_with("///") && is_planted
        });
        if is_foreign {
            self.tests.push(node.span().start().line..node.span().end().line + 1);
        }
        is_foreign
    }
}

/// Whether `expr` asks for a planted bug: what follows is not the product's.
fn asks_for_a_plant(source: &Source, expr: &Expr) -> bool {
    let text = source.text(expr);
    text.contains("Plant::") || text.contains("plants.is(") || text.contains("PLANTS")
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if self.skip_if_foreign(item, &item.attrs) {
            self.modules.extend(item.content.is_none().then(|| item.ident.to_string()));
            return;
        }
        visit::visit_item_mod(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.constness.is_none() && !self.skip_if_foreign(item, &item.attrs) {
            self.within(item.sig.ident.to_string(), |finder| visit::visit_block(finder, &item.block));
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.constness.is_none() && !self.skip_if_foreign(item, &item.attrs) {
            self.within(item.sig.ident.to_string(), |finder| visit::visit_block(finder, &item.block));
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.within(item.sig.ident.to_string(), |finder| visit::visit_block(finder, block));
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if self.skip_if_foreign(item, &item.attrs) {
            return;
        }
        let of_trait = item.trait_.as_ref().map(|(_, path, _)| path.segments.last().map(|last| last.ident.to_string()));
        let for_people = of_trait.flatten().is_some_and(|name| ["Display", "Debug", "Hash"].contains(&name.as_str()));
        if !for_people {
            self.within(self.source.text(&item.self_ty), |finder| visit::visit_item_impl(finder, item));
        }
    }

    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_item_static(&mut self, _: &'ast syn::ItemStatic) {}
    fn visit_item_enum(&mut self, _: &'ast syn::ItemEnum) {}
    fn visit_item_struct(&mut self, _: &'ast syn::ItemStruct) {}
    fn visit_type(&mut self, _: &'ast syn::Type) {}
    fn visit_pat(&mut self, _: &'ast syn::Pat) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if matches!(statement, Stmt::Expr(Expr::MethodCall(call), _) if operators::is_told(call)) {
            return;
        }
        if let Some(change) = operators::of_statement(statement) {
            self.offer(statement, change);
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr_if(&mut self, branch: &'ast syn::ExprIf) {
        if asks_for_a_plant(self.source, &branch.cond) {
            if let Some((_, otherwise)) = &branch.else_branch {
                self.visit_expr(otherwise);
            }
            return;
        }
        let has_body = operators::does_something(&branch.then_branch);
        if !has_body && branch.else_branch.is_none() {
            return;
        }
        for change in operators::of_condition(&branch.cond, true) {
            self.offer(&*branch.cond, change);
        }
        if branch.else_branch.is_none() && operators::has_let(&branch.cond) {
            self.offer(&branch.then_branch, operators::of_body());
        }
        visit::visit_expr_if(self, branch);
    }

    fn visit_expr_while(&mut self, repeated: &'ast syn::ExprWhile) {
        for change in operators::of_condition(&repeated.cond, false) {
            self.offer(&*repeated.cond, change);
        }
        visit::visit_expr_while(self, repeated);
    }

    fn visit_expr_for_loop(&mut self, repeated: &'ast syn::ExprForLoop) {
        if operators::does_something(&repeated.body) {
            self.offer(&repeated.body, operators::of_body());
        }
        visit::visit_expr_for_loop(self, repeated);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if let Some((_, guard)) = &arm.guard {
            if asks_for_a_plant(self.source, guard) {
                return;
            }
            for change in operators::of_condition(guard, true) {
                self.offer(&**guard, change);
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr(&mut self, expr: &'ast Expr) {
        // When a planted bug is taken to have struck.
        if let Expr::Tuple(pair) = expr
            && pair
                .elems
                .first()
                .is_some_and(|first| matches!(first, Expr::Path(_)) && asks_for_a_plant(self.source, first))
        {
            return;
        }
        // Whoever is not a plant's goes on with what stands beside it.
        if let Expr::Binary(binary) = expr
            && matches!(binary.op, BinOp::And(_))
            && asks_for_a_plant(self.source, expr)
        {
            for (side, other) in [(&binary.left, &binary.right), (&binary.right, &binary.left)] {
                if matches!(&**side, Expr::Unary(_)) && asks_for_a_plant(self.source, side) {
                    self.visit_expr(other);
                }
            }
            return;
        }
        for change in operators::of_expression(self.source, expr) {
            self.offer(expr, change);
        }
        visit::visit_expr(self, expr);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        for (body, change) in operators::of_deciding_closure(call) {
            self.offer(body, change);
        }
        visit::visit_expr_method_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(text: &str) -> Offer {
        Source { path: "src/x.rs".to_owned(), text: text.to_owned() }.offer().expect("it is Rust")
    }

    /// Every change of `body`, as `original -> mutated`.
    fn changes(body: &str) -> Vec<String> {
        let offer = offer(&format!("fn f() {{\n{body}\n}}\n"));
        offer.sites.iter().map(|site| format!("{} -> {}", site.original, site.mutated)).collect()
    }

    #[test]
    fn comparisons_are_flipped_and_moved_by_one() {
        assert_eq!(changes("let x = a < b;"), ["a < b -> a <= b", "a < b -> a >= b"]);
        assert_eq!(changes("let x = a == b;"), ["a == b -> a != b"]);
        assert_eq!(
            changes("let x = a >= 7;"),
            ["a >= 7 -> a > 7", "a >= 7 -> a < 7", "a >= 7 -> a >= 8", "a >= 7 -> a >= 6"]
        );
    }

    #[test]
    fn sums_change_their_sign_and_are_off_by_one() {
        assert_eq!(changes("let x = a + 1;"), ["a + 1 -> a - 1", "a + 1 -> a + 2", "a + 1 -> a + 0"]);
        assert_eq!(changes("let x = a.saturating_sub(b);"), ["a.saturating_sub(b) -> a.saturating_add(b)"]);
    }

    #[test]
    fn the_smaller_is_taken_for_the_larger() {
        assert_eq!(changes("let x = a.min(b);"), ["a.min(b) -> a.max(b)"]);
        assert_eq!(changes("let x = std::cmp::max(a, b);"), ["std::cmp::max(a, b) -> std::cmp::min(a, b)"]);
    }

    #[test]
    fn conditions_are_removed() {
        assert_eq!(changes("if a { x } else { y }"), ["a -> true", "a -> false"]);
        assert_eq!(changes("let x = a && !b;"), ["a && !b -> a || !b", "a && !b -> a", "a && !b -> !b", "!b -> b"]);
        assert_eq!(changes("let x = all.iter().any(|one| one.holds);"), ["one.holds -> true", "one.holds -> false"]);
        assert_eq!(changes("let x = match y { z if a => 1, _ => 2 };"), ["a -> true", "a -> false"]);
        assert_eq!(changes("while a { }"), ["a -> false"]);
        let beside_a_plant = changes("let x = a < b && !plants.is(Plant::Canary);");
        assert_eq!(beside_a_plant, ["a < b -> a <= b", "a < b -> a >= b"]);
    }

    #[test]
    fn statements_and_bodies_are_dropped() {
        assert_eq!(changes("g(); x = y; x += 1; let z = h();"), ["g(); -> ", "x = y; -> ", "x += 1; -> "]);
        assert_eq!(changes("g().await?;"), ["g().await?; -> "]);
        assert_eq!(changes("for x in y { }"), [""; 0]);
        assert_eq!(changes("for x in y { assert!(x > 0); } self.check_invariants();"), [""; 0]);
        assert_eq!(changes("for x in y { assert!(x > 0); g() }").len(), 1);
        assert_eq!(changes("for x in y { g() }"), ["{ g() } -> {}"]);
        assert_eq!(changes("if let Some(x) = y { g() }"), ["{ g() } -> {}"]);
        assert_eq!(changes("let x = if let Some(x) = y { 1 } else { 2 };"), [""; 0]);
    }

    #[test]
    fn tests_constants_texts_for_people_and_planted_bugs_are_left_alone() {
        let text = "const N: usize = 1 + 2;\n\
            impl fmt::Display for X { fn fmt(&self) -> bool { a < b } }\n\
            #[cfg(test)]\nmod tests { fn f() { a < b; } }\n\
            const fn g() -> bool { 1 < 2 }\n\
            fn h() { if plants.is(Plant::Canary) { g(); } }\n\
            fn j() { let x = a < b && plants.is(Plant::Canary); }\n\
            fn m() { let x = R::PLANTS && !fenced; let y = [(Plant::Canary, !opened), (Plant::Canary, a < b)]; }\n\
            fn k() { if a < b { self.observe(|| Event::PlantTaken(if c < d { 1 } else { 2 })); } }\n\
            fn l() { effects.push(Effect::Observe(Event::Moved { at: a + 1 })); }\n\
            /// Goes on: only a planted bug does.\nfn i() { a < b; }\n\
            fn i(x: [u8; 4 + 4]) { let y = matches!(x, z if a < b); }\n";
        assert_eq!(offer(text).sites, []);
        assert_eq!(offer("#[cfg(test)]\nmod tests;\n").test_modules, ["tests"]);
    }

    #[test]
    fn lines_of_code_are_told_from_blank_ones_comments_and_tests() {
        let text = "//! Doc.\n\nuse x;\n/// Doc.\nfn f() {\n    // Why.\n    g();\n}\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
        assert_eq!(offer(text).lines, [3, 5, 7, 8]);
    }

    #[test]
    fn a_site_knows_its_function() {
        let offer = offer("impl<F: File> Log<F> {\n    fn g(&self) -> bool {\n        self.a < 3\n    }\n}\n");
        assert_eq!((offer.sites[0].function.as_str(), offer.sites[0].line), ("Log<F>::g", 3));
    }
}
