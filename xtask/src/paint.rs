//! Colours, where a person looks: not in files and pipes, and not where `NO_COLOR` is set.

use std::io::IsTerminal;

/// How a text stands out.
#[derive(Clone, Copy)]
pub enum Paint {
    Bold,
    Good,
    Bad,
}

impl Paint {
    /// The text, painted if the standard output is a terminal.
    pub fn on(self, text: &str) -> String {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        self.painted(text, wanted && std::io::stdout().is_terminal())
    }

    fn painted(self, text: &str, wanted: bool) -> String {
        let code = match self {
            Self::Bold => 1,
            Self::Good => 32,
            Self::Bad => 31,
        };
        if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_painted_for_those_who_see_it_and_left_alone_for_the_rest() {
        assert_eq!(Paint::Bad.painted("FAIL", true), "\x1b[31mFAIL\x1b[0m");
        assert_eq!(Paint::Bad.painted("FAIL", false), "FAIL");
    }
}
