//! What may be done to one place of the syntax: each operator keeps the type of what it changes,
//! as far as the text alone can tell. Where it cannot, the compiler refuses the mutant.

use syn::spanned::Spanned;
use syn::{BinOp, Expr, Lit, Stmt, UnOp};

use crate::sites::{Form, Source};

/// One change: what kind, how it is switched, and the new text.
pub(crate) struct Change {
    /// The operator's name.
    pub operator: &'static str,
    /// How the change is put behind its switch.
    pub form: Form,
    /// The text in place of the original; empty where the original is left out.
    pub mutated: String,
}

fn in_place(operator: &'static str, mutated: impl Into<String>) -> Change {
    Change { operator, form: Form::Expression, mutated: mutated.into() }
}

/// What may be done to `expr`.
pub(crate) fn of_expression(source: &Source, expr: &Expr) -> Vec<Change> {
    match expr {
        Expr::Binary(binary) if !has_let(&binary.left) && !has_let(&binary.right) => of_binary(source, binary),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Not(_)) => {
            vec![in_place("negation removed", source.text(&unary.expr))]
        }
        Expr::Lit(literal) => match &literal.lit {
            Lit::Bool(value) => vec![in_place("constant flipped", (!value.value).to_string())],
            _ => Vec::new(),
        },
        Expr::MethodCall(call) => of_method_call(source, call),
        Expr::Call(call) => of_call(source, call),
        _ => Vec::new(),
    }
}

fn of_binary(source: &Source, binary: &syn::ExprBinary) -> Vec<Change> {
    let (left, right) = (source.text(&binary.left), source.text(&binary.right));
    let with = |operator, symbol: &str| in_place(operator, format!("{left} {symbol} {right}"));
    let mut changes = match binary.op {
        BinOp::Lt(_) => vec![with("comparison", "<="), with("comparison", ">=")],
        BinOp::Le(_) => vec![with("comparison", "<"), with("comparison", ">")],
        BinOp::Gt(_) => vec![with("comparison", ">="), with("comparison", "<=")],
        BinOp::Ge(_) => vec![with("comparison", ">"), with("comparison", "<")],
        BinOp::Eq(_) => vec![with("comparison", "!=")],
        BinOp::Ne(_) => vec![with("comparison", "==")],
        BinOp::And(_) => vec![
            with("connective", "||"),
            in_place("condition removed", left.clone()),
            in_place("condition removed", right.clone()),
        ],
        BinOp::Or(_) => vec![
            with("connective", "&&"),
            in_place("condition removed", left.clone()),
            in_place("condition removed", right.clone()),
        ],
        BinOp::Add(_) => vec![with("arithmetic", "-")],
        BinOp::Sub(_) => vec![with("arithmetic", "+")],
        _ => return Vec::new(),
    };
    if matches!(binary.op, BinOp::Add(_) | BinOp::Sub(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)) {
        let symbol = source.text(&binary.op);
        for shifted in off_by_one(&binary.right) {
            changes.push(in_place("off by one", format!("{left} {symbol} {shifted}")));
        }
        for shifted in off_by_one(&binary.left) {
            changes.push(in_place("off by one", format!("{shifted} {symbol} {right}")));
        }
    }
    changes
}

/// The neighbours of an integer literal.
fn off_by_one(expr: &Expr) -> Vec<String> {
    let Expr::Lit(syn::ExprLit { lit: Lit::Int(literal), .. }) = expr else { return Vec::new() };
    let Ok(value) = literal.base10_parse::<u64>() else { return Vec::new() };
    let mut shifted = vec![format!("{}{}", value + 1, literal.suffix())];
    shifted.extend(value.checked_sub(1).map(|less| format!("{less}{}", literal.suffix())));
    shifted
}

/// Methods whose closure decides what is taken.
const DECIDED_BY_A_CLOSURE: &[&str] = &[
    "all",
    "any",
    "filter",
    "find",
    "is_none_or",
    "is_some_and",
    "is_ok_and",
    "partition_point",
    "position",
    "retain",
    "rposition",
    "skip_while",
    "take_while",
];

fn of_method_call(source: &Source, call: &syn::ExprMethodCall) -> Vec<Change> {
    let (receiver, name) = (source.text(&call.receiver), call.method.to_string());
    let arguments = source.texts(&call.args);
    let instead = |method: &str| vec![in_place("min for max", format!("{receiver}.{method}({arguments})"))];
    match (name.as_str(), call.args.len()) {
        ("min", 1) => instead("max"),
        ("max", 1) => instead("min"),
        ("saturating_add", 1) => vec![in_place("arithmetic", format!("{receiver}.saturating_sub({arguments})"))],
        ("saturating_sub", 1) => vec![in_place("arithmetic", format!("{receiver}.saturating_add({arguments})"))],
        ("rev", 0) | ("min", 0) | ("max", 0) => Vec::new(),
        _ => Vec::new(),
    }
}

fn of_call(source: &Source, call: &syn::ExprCall) -> Vec<Change> {
    let (function, arguments) = (source.text(&call.func), source.texts(&call.args));
    let stem = |name: &str| function.strip_suffix(name).filter(|rest| rest.is_empty() || rest.ends_with("::"));
    if call.args.len() != 2 {
        return Vec::new();
    }
    let instead = |stem: &str, name: &str| vec![in_place("min for max", format!("{stem}{name}({arguments})"))];
    match (stem("min"), stem("max")) {
        (Some(stem), _) => instead(stem, "max"),
        (_, Some(stem)) => instead(stem, "min"),
        _ => Vec::new(),
    }
}

/// What may be done to the closures among the arguments of `call`: what they decide, is constant.
pub(crate) fn of_deciding_closure(call: &syn::ExprMethodCall) -> Vec<(&Expr, Change)> {
    if !DECIDED_BY_A_CLOSURE.contains(&call.method.to_string().as_str()) {
        return Vec::new();
    }
    let closures = call.args.iter().filter_map(|argument| match argument {
        Expr::Closure(closure) => Some(&*closure.body),
        _ => None,
    });
    closures.flat_map(|body| ["true", "false"].map(|value| (body, in_place("condition removed", value)))).collect()
}

/// What may be done to the condition of an `if`, a `while` or an arm.
pub(crate) fn of_condition(condition: &Expr, may_be_true: bool) -> Vec<Change> {
    if has_let(condition) {
        return Vec::new();
    }
    let values: &[&str] = if may_be_true { &["true", "false"] } else { &["false"] };
    values.iter().map(|value| in_place("condition removed", *value)).collect()
}

/// What may be done to a statement: it is left out, where that leaves no name undefined.
pub(crate) fn of_statement(statement: &Stmt) -> Option<Change> {
    let Stmt::Expr(expr, Some(_)) = statement else { return None };
    is_an_action(expr).then(|| Change { operator: "statement dropped", form: Form::Statement, mutated: String::new() })
}

/// What may be done to the body of a loop, or of an `if let` without `else`: it is left out.
pub(crate) fn of_body() -> Change {
    Change { operator: "body dropped", form: Form::Body, mutated: "{}".to_owned() }
}

/// Whether a block does more than assert and tell: what it asserts holds, or somebody panics.
pub(crate) fn does_something(block: &syn::Block) -> bool {
    block.stmts.iter().any(|statement| match statement {
        Stmt::Macro(called) => !called.mac.path.segments.iter().any(|one| {
            let name = one.ident.to_string();
            name.starts_with("assert") || name == "tracing"
        }),
        Stmt::Expr(Expr::MethodCall(call), _) => !is_told(call),
        _ => true,
    })
}

/// Whether a call tells an observer of something, which the real runtime writes to its log.
pub(crate) fn is_told(call: &syn::ExprMethodCall) -> bool {
    let is_told = |argument: &Expr| match argument {
        Expr::Call(call) => {
            matches!(&*call.func, Expr::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Observe"))
        }
        _ => false,
    };
    call.method == "observe" || call.method == "push" && call.args.iter().any(is_told)
}

/// Whether `expr` is there for what it does and not for its value.
fn is_an_action(expr: &Expr) -> bool {
    match expr {
        // It only asserts.
        Expr::MethodCall(call) if call.method == "check_invariants" || is_told(call) => false,
        Expr::Call(_) | Expr::MethodCall(_) | Expr::Assign(_) => true,
        Expr::Binary(binary) => matches!(
            binary.op,
            BinOp::AddAssign(_) | BinOp::SubAssign(_) | BinOp::BitOrAssign(_) | BinOp::BitAndAssign(_)
        ),
        Expr::Await(awaited) => is_an_action(&awaited.base),
        Expr::Try(tried) => is_an_action(&tried.expr),
        _ => false,
    }
}

/// Whether a pattern is bound within `expr`, as in `if let … && …`.
pub(crate) fn has_let(expr: &Expr) -> bool {
    match expr {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        Expr::Paren(inner) => has_let(&inner.expr),
        _ => false,
    }
}

/// Where `node` stands in its file, in bytes.
pub(crate) fn range(node: &impl Spanned) -> std::ops::Range<usize> {
    node.span().byte_range()
}
