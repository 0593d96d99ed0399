//! A function as an attribute is given it: its head is read, its body goes through as it is.

use proc_macro2::TokenStream;
use quote::{ToTokens, TokenStreamExt, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Block, FnArg, Ident, Pat, ReturnType, Signature, Type, Visibility};

/// A function with a body: a free one, or one of an `impl` or a trait.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) block: Block,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Function> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let signature: Signature = input.parse()?;
        if signature.constness.is_some() {
            let problem = "a `const fn` can record nothing: leave out `const`, or the attribute";
            return Err(syn::Error::new_spanned(signature.constness, problem));
        }
        Ok(Function {
            attributes,
            visibility,
            signature,
            block: input.parse()?,
        })
    }
}

impl Function {
    pub(crate) fn is_async(&self) -> bool {
        self.signature.asyncness.is_some()
    }

    /// Names that its arguments bind, without `self`.
    pub(crate) fn arguments(&self) -> Vec<Ident> {
        let mut names = Vec::new();
        for argument in &self.signature.inputs {
            if let FnArg::Typed(argument) = argument {
                bindings(&argument.pat, &mut names);
            }
        }
        names
    }

    /// The type that it returns is called `Result`, whoever defines it.
    pub(crate) fn returns_result(&self) -> bool {
        let ReturnType::Type(_, returned) = &self.signature.output else {
            return false;
        };
        let Type::Path(path) = &**returned else {
            return false;
        };
        path.path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Result")
    }

    /// The function with another body.
    pub(crate) fn with_body(&self, body: impl ToTokens) -> TokenStream {
        let (attributes, visibility, signature) = (&self.attributes, &self.visibility, &self.signature);
        quote! {
            #(#attributes)*
            #visibility #signature { #body }
        }
    }

    /// What its body returns, to be written where a closure or an `async` block needs to be told.
    pub(crate) fn result_type(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Type(_, returned) if !matches!(**returned, Type::ImplTrait(_)) => Some(returned),
            _ => None,
        }
    }
}

impl ToTokens for Function {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let statements = &self.block.stmts;
        tokens.append_all(self.with_body(quote! { #(#statements)* }));
    }
}

fn bindings(pattern: &Pat, names: &mut Vec<Ident>) {
    match pattern {
        Pat::Ident(bound) => names.push(bound.ident.clone()),
        Pat::Reference(reference) => bindings(&reference.pat, names),
        Pat::Tuple(tuple) => tuple.elems.iter().for_each(|pattern| bindings(pattern, names)),
        Pat::TupleStruct(tuple) => tuple.elems.iter().for_each(|pattern| bindings(pattern, names)),
        Pat::Struct(fields) => fields.fields.iter().for_each(|field| bindings(&field.pat, names)),
        Pat::Slice(slice) => slice.elems.iter().for_each(|pattern| bindings(pattern, names)),
        Pat::Paren(inner) => bindings(&inner.pat, names),
        Pat::Type(typed) => bindings(&typed.pat, names),
        _ => {}
    }
}
