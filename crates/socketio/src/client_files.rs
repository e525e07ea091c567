//! The JavaScript client, as the official server hands it out.

use std::{fs, io, path::Path};

use engineio::{File, Files};
use serde_json::Value;

/// Reads those of the official files that there are.
pub(crate) fn read(directory: &Path) -> io::Result<Files> {
    let version = version(directory);
    let mut files = Files::default();
    for name in NAMES {
        let content_type = match name.ends_with(".map") {
            true => "application/json; charset=utf-8",
            false => "application/javascript; charset=utf-8",
        };
        let file = match File::read(content_type, directory.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(explain(&directory.join(name), &error)),
        };
        files = files.add(
            name,
            match &version {
                Some(version) => file.version(version),
                None => file,
            },
        );
    }
    if files.is_empty() {
        let error = io::Error::from(io::ErrorKind::NotFound);
        return Err(explain(&directory.join(NAMES[0]), &error));
    }
    Ok(files)
}

/// The version of the package that the directory belongs to.
fn version(directory: &Path) -> Option<String> {
    let package = fs::read(directory.join("../package.json")).ok()?;
    let package: Value = serde_json::from_slice(&package).ok()?;
    package["version"].as_str().map(str::to_owned)
}

fn explain(path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    let message = format!(
        "cannot read the client {path}: {error}; install it by `npm install socket.io-client` and \
         name the directory node_modules/socket.io-client/dist"
    );
    io::Error::new(error.kind(), message)
}

/// The files of a client 4.x. Older ones have a part of them.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];
