use super::need_image;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The package indexes of a test's own image, in directories of it: nothing leaves this machine.
#[derive(Debug)]
pub struct Index {
    place: TempDir,
    listed: String,
}

/// Runs a command to its good end.
///
/// # Panics
/// When it has none.
pub fn done(command: &mut Command) -> String {
    // What is packed is the same whenever it is: images of it are too.
    let output = command.env("SOURCE_DATE_EPOCH", "0").output().expect("start it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

impl Index {
    /// One with nothing in it.
    ///
    /// # Panics
    /// When there is no place for it.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "it makes directories")]
    pub fn new() -> Self {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(place.path().join("repository/wheels")).expect("make the index");
        Self { place, listed: String::new() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join("repository").join(name)
    }

    /// A Debian package with one executable.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn deb(&mut self, name: &str, path: &str, script: &str) {
        let tree = self.at(&format!("{name}.tree"));
        let file = tree.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().expect("a parent")).expect("make the tree");
        fs::write(&file, script).expect("write");
        done(Command::new("chmod").arg("-R").arg("u=rwX,go=rX").arg(&tree));
        done(Command::new("chmod").arg("0755").arg(&file));
        self.pack(name, &tree);
    }

    /// The pip of this machine, as the package that has it.
    ///
    /// # Panics
    /// When there is none, or it cannot be packed.
    pub fn pip(&mut self) {
        let ask = ["-I", "-c", "import pip; print(pip.__path__[0])"];
        let from = done(Command::new("/usr/bin/python3").args(ask));
        let tree = self.at("python3-pip.tree");
        let to = tree.join("usr/lib/python3/dist-packages");
        fs::create_dir_all(&to).expect("make the tree");
        done(Command::new("cp").arg("-r").arg(from.trim()).arg(&to));
        done(Command::new("find").arg(&to).args([
            "-name",
            "__pycache__",
            "-prune",
            "-exec",
            "rm",
            "-r",
            "{}",
            "+",
        ]));
        self.pack("python3-pip", &tree);
    }

    fn pack(&mut self, name: &str, tree: &Path) {
        fs::create_dir_all(tree.join("DEBIAN")).expect("make the tree");
        let control = format!(
            "Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.test>\nDescription: a test\n"
        );
        fs::write(tree.join("DEBIAN/control"), &control).expect("write");
        let deb = self.at(&format!("{name}.deb"));
        done(Command::new("dpkg-deb").args(["--build", "--root-owner-group"]).arg(tree).arg(&deb));
        fs::remove_dir_all(tree).expect("clear the tree");
        let sum = done(Command::new("sha256sum").arg(&deb));
        let (sum, size) = (sum.split(' ').next().expect("a sum"), fs::metadata(&deb).expect("a file").len());
        let _ = write!(self.listed, "{control}Filename: ./{name}.deb\nSize: {size}\nSHA256: {sum}\n\n");
    }

    /// A Python package of one module.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn wheel(&self, name: &str, version: &str, text: &str) {
        let program = "import sys, zipfile\nto, name, version, text = sys.argv[1:]\ninfo = f'{name}-{version}.dist-info'\n\
                       files = {f'{name}.py': text, f'{info}/METADATA': f'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n',\n\
                       \x20 f'{info}/WHEEL': 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n', f'{info}/RECORD': ''}\n\
                       with zipfile.ZipFile(f'{to}/{name}-{version}-py3-none-any.whl', 'w') as z:\n\
                       \x20 for path, content in files.items(): z.writestr(zipfile.ZipInfo(path), content)\n";
        let mut command = Command::new("/usr/bin/python3");
        done(command.args(["-I", "-c", program]).arg(self.at("wheels")).args([name, version, text]));
    }

    /// Every wheel of a directory.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn wheels(&self, from: &Path) {
        done(Command::new("cp").arg("-r").arg(from.join(".")).arg(self.at("wheels")));
    }

    /// Builds an image that has these indexes and no others.
    ///
    /// # Panics
    /// When the image that it stands on is not there, or it cannot be built.
    pub fn build(&self, from: &str, tag: &str) {
        need_image(from);
        fs::write(self.at("Packages"), &self.listed).expect("write");
        let pip = "[global]\nno-index = true\nfind-links = /opt/repository/wheels\n";
        fs::write(self.at("pip.conf"), pip).expect("write");
        let dockerfile = format!(
            "FROM {from}\nCOPY repository /opt/repository\nRUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d \
             && echo 'deb [trusted=yes] file:/opt/repository ./' > /etc/apt/sources.list \
             && cp /opt/repository/pip.conf /etc/pip.conf\n"
        );
        fs::write(self.place.path().join("Dockerfile"), dockerfile).expect("write");
        done(Command::new("chmod").arg("-R").arg("a+rX").arg(self.place.path()));
        done(Command::new("docker").args(["build", "-q", "-t", tag]).arg(self.place.path()));
    }
}
