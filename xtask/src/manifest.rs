//! A Cargo.toml as the checks need it: dependencies with their line and the reason written beside them.

use toml::{Table, Value};

/// One parsed manifest.
pub struct Manifest<'a> {
    /// From the root of the repository.
    pub path: &'a str,
    /// The folder it stands in; empty for the root's.
    pub folder: &'a str,
    /// As written.
    pub text: &'a str,
    /// As TOML.
    pub table: Table,
}

/// One row of a dependency section.
#[derive(Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The package, also where the row renames it.
    pub package: String,
    /// The name code uses: the row's key.
    pub key: String,
    /// Whether only tests and benches see it.
    pub dev: bool,
    /// Whether the version comes from the workspace.
    pub inherits: bool,
    /// Counted from 1.
    pub line: usize,
    /// The comment at the end of the row.
    pub comment: Option<String>,
}

/// Dependency sections and whether they are for tests only.
const SECTIONS: [(&str, bool); 3] =
    [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];

impl<'a> Manifest<'a> {
    /// Reads `text`.
    pub fn parse(path: &'a str, folder: &'a str, text: &'a str) -> Result<Self, toml::de::Error> {
        Ok(Self { path, folder, text, table: text.parse()? })
    }

    /// The package's name; empty for a virtual manifest.
    pub fn name(&self) -> &str {
        self.at(&["package", "name"]).and_then(Value::as_str).unwrap_or_default()
    }

    /// The value behind a chain of keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Value> {
        let (first, rest) = keys.split_first()?;
        rest.iter().try_fold(self.table.get(*first)?, |value, key| value.get(key))
    }

    /// The crate's dependencies, those for some targets included.
    pub fn dependencies(&self) -> Vec<Dependency> {
        let targets = self.table.get("target").and_then(Value::as_table);
        let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
        std::iter::once(&self.table).chain(targets).flat_map(|table| self.sections(table)).collect()
    }

    /// The rows of `[workspace.dependencies]`.
    pub fn workspace_dependencies(&self) -> Vec<Dependency> {
        let rows = self.at(&["workspace", "dependencies"]).and_then(Value::as_table);
        rows.map(|rows| self.rows("workspace.dependencies", false, rows)).unwrap_or_default()
    }

    /// The line that starts with `key`, or 1.
    pub fn line_of(&self, key: &str) -> usize {
        self.line_below(0, key)
    }

    fn sections(&self, table: &Table) -> Vec<Dependency> {
        let section = |(name, dev): (&'static str, bool)| {
            table.get(name).and_then(Value::as_table).map(|rows| self.rows(name, dev, rows))
        };
        SECTIONS.into_iter().filter_map(section).flatten().collect()
    }

    fn rows(&self, section: &str, dev: bool, rows: &Table) -> Vec<Dependency> {
        let heading = self.line_of(&format!("[{section}"));
        rows.iter().map(|(key, value)| self.row(heading, dev, key, value)).collect()
    }

    fn row(&self, heading: usize, dev: bool, key: &str, value: &Value) -> Dependency {
        let line = self.line_below(heading, key);
        Dependency {
            package: value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned(),
            key: key.to_owned(),
            dev,
            inherits: value.get("workspace").and_then(Value::as_bool) == Some(true),
            line,
            comment: self.text.lines().nth(line - 1).and_then(comment),
        }
    }

    /// The first line below line `after` that starts with `key` (as a whole), or 1.
    fn line_below(&self, after: usize, key: &str) -> usize {
        let starts = |line: &str| {
            line.strip_prefix(key)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-' || c == '_'))
        };
        self.text
            .lines()
            .enumerate()
            .skip(after)
            .find(|(_, line)| starts(line))
            .map_or(1, |(index, _)| index + 1)
    }
}

/// `libc = "0.2" # why` gives `why`. Values with a `#` inside are not used in our manifests.
fn comment(line: &str) -> Option<String> {
    line.split_once('#').map(|(_, comment)| comment.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[package]
name = "probes"

[dependencies]
nix = { workspace = true, features = ["time"] } # clocks
libc.workspace = true
ring = { package = "rtrb", version = "0.4" }

[dev-dependencies]
libc.workspace = true
"#;

    #[test]
    fn rows_carry_place_and_reason() {
        let manifest = Manifest::parse("probes/Cargo.toml", "probes", TEXT).unwrap();
        assert_eq!(manifest.name(), "probes");
        let shown: Vec<String> = manifest
            .dependencies()
            .iter()
            .map(|d| {
                format!(
                    "{}={} dev:{} inherits:{} line:{} {:?}",
                    d.key, d.package, d.dev, d.inherits, d.line, d.comment
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"libc=libc dev:false inherits:true line:7 None"#,
                r#"nix=nix dev:false inherits:true line:6 Some("clocks")"#,
                r#"ring=rtrb dev:false inherits:false line:8 None"#,
                r#"libc=libc dev:true inherits:true line:11 None"#,
            ]
        );
    }

    #[test]
    fn target_sections_count() {
        let text = "[target.'cfg(loom)'.dependencies]\nloom = \"0.7\"\n";
        let manifest = Manifest::parse("ring/Cargo.toml", "ring", text).unwrap();
        let packages: Vec<String> = manifest.dependencies().into_iter().map(|d| d.package).collect();
        assert_eq!(packages, ["loom"]);
    }
}
