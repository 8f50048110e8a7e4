use super::*;
use std::process::Command;

fn environment(home: &Path, variables: &[(&str, &str)]) -> Environment {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    let own = [("HOME".into(), home.into()), ("GIT_CONFIG_NOSYSTEM".into(), "1".into())];
    Environment::new(variables.chain(own), home.into(), 0)
}

fn listed(configuration: &Configuration) -> Vec<String> {
    configuration
        .iter()
        .map(|setting| match &setting.value {
            Some(value) => format!("{}={value}", setting.key()),
            None => setting.key(),
        })
        .collect()
}

fn check(home: &Path, git_dir: &Path, variables: &[(&str, &str)]) {
    let output = Command::new("git")
        .args(["config", "--list", "--null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("GIT_DIR", git_dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let stock: Vec<String> = output
        .stdout
        .split_str("\0")
        .filter(|entry| !entry.is_empty())
        .map(|entry| String::from_utf8(entry.to_vec()).unwrap().replacen('\n', "=", 1))
        .collect();
    let ours = Configuration::of_repository(&environment(home, variables), git_dir, git_dir).unwrap();
    assert_eq!(listed(&ours), stock);
}

#[test]
fn settings_come_in_stock_order_with_includes_and_overrides() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().canonicalize().unwrap();
    let git_dir = home.join("x.git");
    assert!(Command::new("git").args(["init", "-q", "--bare"]).arg(&git_dir).status().unwrap().success());
    std::fs::create_dir_all(home.join(".config/git")).unwrap();
    std::fs::write(home.join(".config/git/config"), "[a]\n\tx = xdg\n[include]\n\tpath = more\n").unwrap();
    std::fs::write(home.join(".config/git/more"), "[a]\n\tx = included\n").unwrap();
    let global = format!(
        "[a \"Sub.Case\"]\n\tFlag\n\tempty =\n\tq = \"a \\\"b\\\" # no\" tail ; comment\n\tlong = one \\\n  two\n\
         [A.Old]\n\tk = v\n[includeIf \"gitdir:{0}/x.git\"]\n\tpath = ~/yes\n[includeIf \"gitdir:{0}/y.git\"]\n\tpath = ~/no\n\
         [includeIf \"gitdir:x.git\"]\n\tpath = yes\n[includeIf \"onbranch:tr*\"]\n\tpath = branch\n",
        home.display()
    );
    std::fs::write(home.join(".gitconfig"), global).unwrap();
    std::fs::write(home.join("yes"), "[a]\n\tx = conditional\n").unwrap();
    std::fs::write(home.join("no"), "[a]\n\tx = never\n").unwrap();
    std::fs::write(home.join("branch"), "[a]\n\tx = branch\n").unwrap();
    std::fs::write(git_dir.join("HEAD"), "ref: refs/heads/trunk\n").unwrap();
    check(&home, &git_dir, &[]);
    check(&home, &git_dir, &[("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "A.B.C"), ("GIT_CONFIG_VALUE_0", "é")]);
    check(&home, &git_dir, &[("GIT_CONFIG_PARAMETERS", "'a.b'='it'\\''s' 'old.form=x=y' 'a.c' 'a.flag'=")]);
    check(&home, &git_dir, &[("GIT_CONFIG_GLOBAL", "/dev/null")]);
}

#[test]
fn booleans_and_numbers_read_as_in_stock() {
    for (text, boolean) in [
        ("true", Some(true)),
        ("YES", Some(true)),
        ("on", Some(true)),
        ("1", Some(true)),
        ("-1", Some(true)),
        ("2k", Some(true)),
        ("", Some(false)),
        ("off", Some(false)),
        ("0", Some(false)),
        ("0x0", Some(false)),
        ("maybe", None),
        ("1.5", None),
        ("tru", None),
    ] {
        assert_eq!(parse_boolean(Some(text.into())), boolean, "{text}");
    }
    assert_eq!(parse_boolean(None), Some(true));
    for (text, number) in [
        ("5", Ok(5)),
        (" 7", Ok(7)),
        ("1k", Ok(1024)),
        ("0x10", Ok(16)),
        ("010", Ok(8)),
        ("-3", Ok(-3)),
        ("5q", Err("invalid unit")),
        ("", Err("invalid unit")),
        ("99999999999999999999", Err("out of range")),
        ("9000000000g", Err("out of range")),
    ] {
        assert_eq!(value::parse_number(text.into()), number, "{text}");
    }
}

#[test]
fn mistakes_are_told_in_stock_words() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config");
    std::fs::write(&file, "[a]\n\tx = 1\n[broken\n").unwrap();
    let message = Configuration::of_file(&file, &file).unwrap_err().to_string();
    assert_eq!(message, format!("bad config line 3 in file {}", file.display()));
    std::fs::write(&file, "[include]\n\tpath = config\n").unwrap();
    let environment = environment(directory.path(), &[]);
    let error = Configuration::of_repository(&environment, directory.path(), directory.path()).unwrap_err();
    assert!(error.to_string().starts_with("exceeded maximum include depth (10)"), "{error}");
    for (count, words) in [("x", "bogus count in GIT_CONFIG_COUNT"), ("1", "missing config key GIT_CONFIG_KEY_0")] {
        let error = Configuration::protected(&self::environment(Path::new("/nowhere"), &[("GIT_CONFIG_COUNT", count)]));
        assert_eq!(error.unwrap_err().to_string(), words);
    }
}
