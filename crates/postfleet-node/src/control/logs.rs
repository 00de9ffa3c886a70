//! `reopen logs`, `paniclog`, `show logs` and the commands of loggers.

use super::Outcome;
use crate::node::Node;
use crate::notices;
use postfleet_console::{Answer, Code, Failure, LogCommand, LogFigures, logger_help, logs, logs_reopened};

pub(super) async fn execute(node: &Node, command: &LogCommand) -> Outcome {
    match command {
        LogCommand::ReopenAll => reopen(node, None).await,
        LogCommand::Reopen { scope, instance } => reopen(node, Some((scope, instance))).await,
        LogCommand::Help { scope, instance } if node.logs.knows(scope, instance) => Ok(logger_help()),
        LogCommand::Help { scope, instance } => Err(Failure::no_such_instance(scope, instance)),
        LogCommand::Paniclog => Ok(Answer::Lines(notices::recent())),
        LogCommand::Show => {
            let figures = node.logs.figures().into_iter().map(|log| LogFigures {
                name: log.name,
                written: log.written,
                waiting: log.waiting,
                lost: log.lost,
                trouble: log.trouble,
            });
            Ok(logs(&figures.collect::<Vec<_>>()))
        }
    }
}

async fn reopen(node: &Node, logger: Option<(&str, &str)>) -> Outcome {
    match (node.logs.reopen(logger).await, logger) {
        (Some(complaints), _) if complaints.is_empty() => Ok(logs_reopened()),
        (Some(complaints), _) => Err(Failure::error(Code::Internal, complaints.join("\n"))),
        (None, Some((scope, instance))) => Err(Failure::no_such_instance(scope, instance)),
        (None, None) => Ok(logs_reopened()),
    }
}
