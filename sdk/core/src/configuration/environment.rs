//! What configuration is read from: variables and files, as they are at one moment. Everything else of the configuration is
//! given one of these; only [`Environment::system`] looks at the process and the disk.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use cupola_config::Place;

use super::dotenv;

/// What a file that is not there by itself is looked for as.
const DOTENV: &str = ".env";
/// Names the file of further variables instead; `none` for none.
pub(crate) const DOTENV_VARIABLE: &str = "CUPOLA_ENV_FILE";
/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 8 << 20;

type ReadFile = dyn Fn(&Path) -> io::Result<String> + Send + Sync;

/// Variables and files. Cheap to clone.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<String, Variable>,
    read: Arc<ReadFile>,
}

#[derive(Clone)]
struct Variable {
    value: String,
    place: Place,
}

impl fmt::Debug for Environment {
    /// Names alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// The variables of this process and the files of this machine.
    pub fn system() -> Environment {
        let variables = std::env::vars_os().map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        });
        Environment::of(variables).with_files(read_file)
    }

    /// These variables, and no files.
    pub fn of<K: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Environment {
        let none = |path: &Path| {
            Err(io::Error::new(
                io::ErrorKind::NotFound,
                path.display().to_string(),
            ))
        };
        variables.into_iter().fold(
            Environment {
                variables: BTreeMap::new(),
                read: Arc::new(none),
            },
            |environment, (name, value)| environment.with(name, value),
        )
    }

    /// With files that `read` gives the contents of.
    #[must_use]
    pub fn with_files(
        mut self,
        read: impl Fn(&Path) -> io::Result<String> + Send + Sync + 'static,
    ) -> Environment {
        self.read = Arc::new(read);
        self
    }

    /// With a variable, in place of one of its name: how a builder says what goes before the environment.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Environment {
        let variable = Variable {
            value: value.into(),
            place: Place::whole("environment"),
        };
        self.variables.insert(name.into(), variable);
        self
    }

    /// The value of a variable; one that is empty counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?.value.trim();
        (!value.is_empty()).then_some(value)
    }

    /// Where a variable was set.
    pub(crate) fn place(&self, name: &str) -> Place {
        let found = self.variables.get(name).map(|variable| variable.place.clone());
        found.unwrap_or_else(|| Place::whole("environment"))
    }

    /// The names of all variables that have a value.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables
            .keys()
            .map(String::as_str)
            .filter(|name| self.get(name).is_some())
    }

    pub(crate) fn read(&self, path: &Path) -> io::Result<String> {
        (self.read)(path)
    }

    /// The file of further variables, whether it is there or not.
    pub(crate) fn dotenv_path(&self) -> Option<&str> {
        let path = self.get(DOTENV_VARIABLE).unwrap_or(DOTENV);
        (!path.eq_ignore_ascii_case("none")).then_some(path)
    }

    /// With the variables of `.env`, or of the file that `CUPOLA_ENV_FILE` names, where they are not set already. The file if
    /// one was read, and what is wrong in it; the process itself stays as it is.
    pub(crate) fn with_dotenv(&self) -> (Environment, Option<String>, Vec<cupola_config::Problem>) {
        let Some(path) = self.dotenv_path().map(str::to_owned) else {
            return (self.clone(), None, Vec::new());
        };
        let named = self.get(DOTENV_VARIABLE);
        let text = match self.read(Path::new(&path)) {
            Ok(text) => text,
            Err(error) if named.is_some() => {
                let message = format!("{path} cannot be read: {error}; it is left out");
                let problem =
                    cupola_config::Problem::warning(self.place(DOTENV_VARIABLE), DOTENV_VARIABLE, message);
                return (self.clone(), None, vec![problem]);
            }
            Err(_) => return (self.clone(), None, Vec::new()),
        };
        let (pairs, problems) = dotenv::parse(&path, &text);
        let mut environment = self.clone();
        for pair in pairs {
            let place = Place::new(path.as_str(), pair.line, 0);
            // What is set in the process goes before, also where it is empty on purpose; within the file the last counts.
            if self.variables.contains_key(&pair.name) {
                continue;
            }
            let value = pair.value;
            environment.variables.insert(pair.name, Variable { value, place });
        }
        (environment, Some(path), problems)
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {FILE_BYTES_MAX} bytes"),
        )),
        false => Ok(text),
    }
}
