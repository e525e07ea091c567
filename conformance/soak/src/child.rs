//! A process that answers lines with lines, and ends with its standard input.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::proc::Process;

pub struct Answering {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Answering {
    pub fn start(program: impl AsRef<OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let child = command.spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("{}: {error}", program.as_ref().display()));
        Self {
            stdin: child.stdin.take(),
            lines: BufReader::new(child.stdout.take().expect("a pipe")).lines(),
            child,
        }
    }

    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// The next line, or nothing if it has ended.
    pub fn line(&mut self) -> Option<String> {
        self.lines.next()?.ok()
    }

    /// Its answer, or nothing if it has ended.
    pub fn ask(&mut self) -> Option<String> {
        // The answer is missing, too, if this fails.
        let _ = self.stdin.as_mut()?.write_all(b"\n");
        self.line()
    }

    /// Tells it to end.
    pub fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// Its last line, if it ends well.
    pub fn end(mut self) -> Option<String> {
        self.close();
        let mut last = None;
        while let Some(line) = self.line() {
            last = Some(line);
        }
        last.filter(|_| self.child.wait().is_ok_and(|it| it.success()))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
