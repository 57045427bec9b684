//! Turns bindgen's output into what is committed: calls that answer a missing symbol with an error instead of a
//! panic, layout assertions for the architecture they were measured on, no numbered names. Called by `crate::main`.

use std::collections::HashMap;

use syn::visit_mut::{self, VisitMut};
use syn::{Expr, File, FnArg, ImplItem, ImplItemFn, Item, ItemImpl, Pat, ReturnType, Type, parse_quote};

use crate::plan::Plan;

/// The committed text of `bindings`.
pub(crate) fn rewrite(bindings: &str, plan: &Plan) -> Result<String, syn::Error> {
    let mut file = syn::parse_file(bindings)?;
    name_anonymous_enums(&mut file);
    for item in &mut file.items {
        match item {
            Item::Impl(table) if is_table(table, plan.table) => rewrite_calls(table),
            Item::Const(assertion) if assertion.ident == "_" => {
                assertion.attrs.push(parse_quote!(#[cfg(target_arch = "x86_64")]));
            }
            _ => {}
        }
    }
    Ok(format!(
        "// Generated from {} ({}) by `regenerate`: change that, not this file.\n\n{}{}",
        plan.header,
        plan.source,
        imports(plan),
        prettyplease::unparse(&file)
    ))
}

/// The lines at the top, and an empty one behind them.
fn imports(plan: &Plan) -> String {
    if plan.imports.is_empty() { String::new() } else { format!("{}\n\n", plan.imports.join("\n")) }
}

fn is_table(block: &ItemImpl, table: &str) -> bool {
    matches!(&*block.self_ty, Type::Path(path) if path.path.is_ident(table)) && block.trait_.is_none()
}

/// `Verbs::ibv_x(..) -> T` becomes `-> Result<T, LoadError>`; a list of what is missing is added.
fn rewrite_calls(table: &mut ItemImpl) {
    let mut presence: Vec<Expr> = Vec::new();
    for item in &mut table.items {
        if let ImplItem::Fn(function) = item
            && function.sig.receiver().is_some()
        {
            rewrite_call(function);
            let (name, symbol) = (&function.sig.ident, function.sig.ident.to_string());
            presence.push(parse_quote!((#symbol, self.#name.is_ok())));
        }
    }
    table.items.push(parse_quote! {
        pub fn missing(&self) -> Vec<&'static str> {
            let symbols = [#(#presence),*];
            symbols.into_iter().filter(|(_, present)| !present).map(|(symbol, _)| symbol).collect()
        }
    });
}

fn rewrite_call(function: &mut ImplItemFn) {
    let name = function.sig.ident.clone();
    let symbol = name.to_string();
    let arguments: Vec<Pat> = function
        .sig
        .inputs
        .iter()
        .filter_map(|input| match input {
            FnArg::Typed(argument) => Some((*argument.pat).clone()),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let answer: Type = match &function.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, answer) => (**answer).clone(),
    };
    let arguments: Vec<Expr> = arguments.iter().map(|pattern| parse_quote!(#pattern)).collect();
    function.sig.output = parse_quote!(-> Result<#answer, crate::LoadError>);
    function.block = parse_quote!({
        let function = crate::loader::symbol::<Self, _>(&self.#name, #symbol)?;
        // SAFETY: the caller of the written method, which is unsafe as bindgen's is, keeps what the C function asks for.
        Ok(unsafe { function(#(#arguments),*) })
    });
}

/// The numbers in `_bindgen_ty_7` count what other headers declare; the integer type itself says the same.
fn name_anonymous_enums(file: &mut File) {
    let mut names = AnonymousEnums(HashMap::new());
    file.items.retain(|item| match item {
        Item::Type(alias) if alias.ident.to_string().starts_with("_bindgen_ty_") => {
            names.0.insert(alias.ident.to_string(), (*alias.ty).clone());
            false
        }
        _ => true,
    });
    names.visit_file_mut(file);
}

struct AnonymousEnums(HashMap<String, Type>);

impl VisitMut for AnonymousEnums {
    fn visit_type_mut(&mut self, node: &mut Type) {
        let integer = match node {
            Type::Path(path) => path.path.get_ident().and_then(|name| self.0.get(&name.to_string())).cloned(),
            _ => None,
        };
        match integer {
            Some(integer) => *node = integer,
            None => visit_mut::visit_type_mut(self, node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::rewrite;
    use crate::Plan;

    const PLAN: Plan = Plan { table: "Verbs", header: "a.h", source: "b 1", ..Plan::NOTHING };

    #[test]
    fn calls_answer_missing_symbols_and_numbered_names_go() {
        let bindings = "pub const IBV_A: _bindgen_ty_7 = 1; pub type _bindgen_ty_7 = u32;
            impl Verbs {
                pub unsafe fn new() -> Self { Self }
                pub unsafe fn ibv_a(&self, first: *mut u8, second: u32) -> i32 { (self.ibv_a)(first, second) }
                pub unsafe fn ibv_b(&self) { (self.ibv_b)() }
            }
            const _: () = { size_of::<u8>(); };";
        let text: String = rewrite(bindings, &PLAN).unwrap().split_whitespace().collect();
        assert!(text.contains("pubconstIBV_A:u32=1;") && !text.contains("_bindgen_ty_7"), "{text}");
        assert!(text.contains("pubunsafefnnew()->Self{Self}"), "{text}");
        let call = "fnibv_a(&self,first:*mutu8,second:u32,)->Result<i32,crate::LoadError>{\
            letfunction=crate::loader::symbol::<Self,_>(&self.ibv_a,\"ibv_a\")?;Ok(unsafe{function(first,second)})}";
        assert!(text.contains(call), "{text}");
        assert!(text.contains("fnibv_b(&self)->Result<(),crate::LoadError>"), "{text}");
        assert!(text.contains("[(\"ibv_a\",self.ibv_a.is_ok()),(\"ibv_b\",self.ibv_b.is_ok())]"), "{text}");
        assert!(text.contains("#[cfg(target_arch=\"x86_64\")]const_:()"), "{text}");
    }

    #[test]
    fn what_does_not_parse_is_an_error() {
        assert!(rewrite("pub struct {", &PLAN).is_err());
    }
}
