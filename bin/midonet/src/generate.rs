//! Man pages and completion scripts, for packages.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, Subcommand};
use clap_complete::Shell;

/// What can be written.
#[derive(Subcommand)]
pub enum Generate {
    /// Writes the man page of every command into a directory.
    #[command(after_help = "Examples:\n  midonet generate man /usr/share/man/man1")]
    Man {
        /// Where the pages go; it must exist.
        directory: PathBuf,
    },
    /// Prints a completion script.
    #[command(after_help = "Examples:\n  midonet generate completions bash")]
    Completions {
        /// The shell that is to complete.
        shell: Shell,
    },
}

impl Generate {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn run(self, mut command: Command) -> io::Result<()> {
        match self {
            Self::Man { directory } => {
                command.build();
                man_pages(&command, &directory)?;
                let mut cli = mn_cli::command();
                cli.build();
                man_pages(&cli, &directory)
            }
            Self::Completions { shell } => {
                let name = command.get_name().to_owned();
                clap_complete::generate(shell, &mut command, name, &mut io::stdout());
                Ok(())
            }
        }
    }
}

/// A page for a command and each of its subcommands: `midonet.1`, `midonet-cluster.1`.
fn man_pages(command: &Command, directory: &Path) -> io::Result<()> {
    let told = |shown: &&Command| !shown.is_hide_set() && shown.get_name() != "help";
    for shown in command.get_subcommands().filter(told) {
        man_pages(shown, directory)?;
    }
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let page = clap_mangen::Man::new(command.clone()).title(name.clone());
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(directory.join(format!("{name}.1")), text)
}
