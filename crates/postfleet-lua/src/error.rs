/// Why scripts cannot be loaded. What was loaded before stays in force; nothing else is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place(.file, *.line))]
pub struct LoadError {
    /// The script's file as the caller gave it.
    pub file: String,
    /// Counted from 1; none if the whole script is meant.
    pub line: Option<u32>,
    /// What was found and what to do.
    pub problem: String,
}

fn place(file: &str, line: Option<u32>) -> String {
    match line {
        Some(line) => format!("{file}:{line}: "),
        None => format!("{file}: "),
    }
}

impl LoadError {
    /// From a message of the interpreter, which begins with the place unless the script says otherwise.
    pub(crate) fn from_message(file: &str, message: &str) -> Self {
        let after = message.find(':').map(|at| message.split_at(at));
        let (file, line, problem) = match after {
            Some((named, rest)) => {
                let rest = rest.trim_start_matches(':');
                match rest.split_once(':').map(|(line, problem)| (line.parse::<u32>(), problem)) {
                    Some((Ok(line), problem)) => (named, Some(line), problem.trim_start()),
                    _ => (file, None, message),
                }
            }
            None => (file, None, message),
        };
        Self { file: file.to_owned(), line, problem: problem.to_owned() }
    }
}

/// The text of an error without tracebacks, which are of no use to an operator.
pub(crate) fn text(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => text(cause),
        mlua::Error::WithContext { cause, .. } => text(cause),
        mlua::Error::SyntaxError { message, .. } => message.clone(),
        mlua::Error::RuntimeError(message) => {
            message.split("\nstack traceback:").next().unwrap_or_default().to_owned()
        }
        mlua::Error::MemoryError(_) => {
            "not enough memory: the scripts of this module hold too much".to_owned()
        }
        other => other.to_string(),
    }
}
