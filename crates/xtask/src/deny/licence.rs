//! SPDX licence expressions, as far as manifests use them: names, `WITH`, `AND`, `OR`, parentheses, and the `/` of old.
//!
//! A name is a word and no more: whether SPDX lists it is for the list of what is allowed to know.

/// Whether an expression can be satisfied with what is allowed; `None` when it is no expression.
pub(super) fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = Words {
        words: spaced.split_whitespace().collect(),
        at: 0,
        allowed,
    };
    let satisfied = words.either()?;
    (words.at == words.words.len()).then_some(satisfied)
}

struct Words<'a> {
    words: Vec<&'a str>,
    at: usize,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a> Words<'a> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.words.get(self.at) == Some(&word);
        self.at += usize::from(found);
        found
    }

    fn name(&mut self) -> Option<&'a str> {
        let word = *self.words.get(self.at)?;
        let is_name = !["(", ")", "AND", "OR", "WITH"].contains(&word);
        self.at += 1;
        is_name.then_some(word)
    }

    fn either(&mut self) -> Option<bool> {
        let mut satisfied = self.both()?;
        while self.take("OR") {
            satisfied |= self.both()?;
        }
        Some(satisfied)
    }

    fn both(&mut self) -> Option<bool> {
        let mut satisfied = self.one()?;
        while self.take("AND") {
            satisfied &= self.one()?;
        }
        Some(satisfied)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let satisfied = self.either()?;
            return self.take(")").then_some(satisfied);
        }
        let name = self.name()?;
        if self.take("WITH") {
            let exception = self.name()?;
            return Some((self.allowed)(&format!("{name} WITH {exception}")));
        }
        Some((self.allowed)(name))
    }
}

#[cfg(test)]
mod tests {
    //! Expressions as manifests have them, and some that are none.

    use super::*;

    fn satisfied_by(allowed: &[&str], expression: &str) -> Option<bool> {
        satisfied(expression, &|one| allowed.contains(&one))
    }

    #[test]
    fn and_binds_closer_than_or() {
        for (expression, expected) in [
            ("MIT", true),
            ("ISC", false),
            ("MIT OR ISC", true),
            ("ISC OR MIT AND ISC", false),
            ("MIT OR ISC AND ISC", true),
            ("(MIT OR ISC) AND ISC", false),
            ("(MIT OR ISC) AND Zlib", true),
            ("MIT/ISC", true),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH another OR ((MIT))", true),
        ] {
            let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"];
            assert_eq!(
                satisfied_by(&allowed, expression),
                Some(expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn what_is_no_expression_is_not_guessed_at() {
        for bad in [
            "", "OR", "MIT OR", "(MIT", "MIT)", "MIT ISC", "MIT WITH", "AND MIT",
        ] {
            assert_eq!(satisfied_by(&["MIT", "ISC"], bad), None, "{bad:?}");
        }
    }
}
