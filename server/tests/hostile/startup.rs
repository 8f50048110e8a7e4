//! Machines and configurations on which the server can't run: an exit code, and words that say what to do.

use crate::support::{Server, command, noise, repository, repository_with, wait};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Its exit code and what it said.
fn run(mut command: Command) -> (i32, String) {
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let Some(status) = wait(&mut child, Duration::from_secs(60)) else {
        child.kill().unwrap();
        panic!("{command:?} runs");
    };
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (status.code().unwrap_or(-1), said)
}

#[test]
fn too_little_lockable_memory() {
    let folder = TempDir::new().unwrap();
    let (code, said) = run(command(&["prlimit", "--memlock=65536:65536"], folder.path()));
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("memory-lock limit is 64 KiB") && said.contains("ulimit -l"), "{said}");
    assert!(!said.contains("panic"), "{said}");
}

#[test]
fn too_few_descriptors() {
    let folder = TempDir::new().unwrap();
    let (code, said) = run(command(&["prlimit", "--nofile=32:32"], folder.path()));
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("32 files may be open") && said.contains("ulimit -n"), "{said}");
}

/// A repository that would need a larger file than this process may write is not mirrored, and the server lives.
#[test]
fn a_limit_on_the_size_of_files() {
    let folder = TempDir::new().unwrap();
    // The log is a file as well.
    repository_with(&folder.path().join("upstream/app.git"), &noise(1, 1 << 20));
    let mut server = Server::on(folder, &["prlimit", "--fsize=262144:262144"], &[]);
    let answer = server.exchange("GET /app.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    server.until("the limit is named", |server| server.log().contains("ulimit -f"));
    let answer = server.exchange("GET /nothing.git/info/refs?service=git-upload-pack HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

/// Where locked memory is counted, each shard needs its own. (Root's is not, so that capability is dropped.)
#[test]
fn too_little_lockable_memory_for_the_shards() {
    use std::os::unix::fs::MetadataExt;
    let limited = ["prlimit", "--memlock=524288:524288"];
    let wrapper = match fs::metadata("/proc/self").unwrap().uid() {
        0 => [&["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"], &limited[..]].concat(),
        _ => limited.to_vec(),
    };
    let folder = TempDir::new().unwrap();
    let mut refused = command(&wrapper, folder.path());
    refused.args(["--cores", "3"]);
    let (code, said) = run(refused);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("limit is 512 KiB and 768 KiB are needed for 3 shards"), "{said}");
    // What is said to be enough is.
    repository(&folder.path().join("upstream/app.git"));
    Server::on(folder, &wrapper, &["--cores", "2"]).lives_on();
}

/// `[::]` is every address, of IPv4 too.
#[test]
fn one_address_for_both_families() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("upstream")).unwrap();
    let mut child = Command::new(crate::support::PROGRAM)
        .args(["serve", "--listen", "[::]:0", "--admin-listen", "127.0.0.1:0", "--upstream"])
        .arg(folder.path().join("upstream"))
        .arg("--data")
        .arg(folder.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let port: u16 = log
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_whitespace().find_map(|word| word.strip_prefix("http=[::]:")?.parse().ok()))
        .unwrap();
    for address in ["127.0.0.1", "::1"] {
        let mut peer = std::net::TcpStream::connect((address, port)).unwrap();
        peer.write_all(b"GET /nothing/here HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1."), "{address}: {answer}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// As in a container: a seccomp filter answers EPERM to `io_uring_setup`.
#[test]
fn io_uring_is_forbidden() {
    let script = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def bpf(code, jt, jf, k): return struct.pack('HBBI', code, jt, jf, k)
# Load the system call's number; 425 (io_uring_setup, on every architecture) gets EPERM, all else is allowed.
program = bpf(0x20, 0, 0, 0) + bpf(0x15, 0, 1, 425) + bpf(6, 0, 0, 0x00050001) + bpf(6, 0, 0, 0x7fff0000)
buffer = ctypes.create_string_buffer(program)
class Prog(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
prog = Prog(4, ctypes.addressof(buffer))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(prog), 0, 0):
    sys.exit('no seccomp: %s' % os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
";
    let folder = TempDir::new().unwrap();
    let (code, said) = run(command(&["python3", "-c", script], folder.path()));
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("io_uring is forbidden") && said.contains("seccomp"), "{said}");
    assert!(!said.contains("panic"), "{said}");
}

/// A folder from which nothing will come is said at the start, by both who read the configuration.
#[test]
fn an_upstream_folder_that_is_odd() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    repository(&path("bare.git"));
    repository(&path("tree/.git"));
    repository(&path("sound/team/app.git"));
    fs::create_dir_all(path("empty/deep/er")).unwrap();
    for (name, words) in [
        ("bare.git", "is itself a repository"),
        ("tree", "is itself a repository"),
        ("empty", "holds no bare repository"),
        ("absent", "No such file"),
        ("sound", ""),
    ] {
        let config = path("heliostat.toml");
        fs::write(&config, format!("[upstream]\nkind = \"directory\"\nurl = {:?}\n", path(name))).unwrap();
        let mut check = Command::new(crate::support::PROGRAM);
        check.arg("check-config").arg(&config);
        let (code, said) = run(check);
        let warned = said.contains("warning: the upstream folder") && said.contains(&path(name).display().to_string());
        assert!(code == 0 && warned != words.is_empty() && said.contains(words), "{name}: {code} {said}");
    }
    for (name, words) in [("bare.git", "is itself a repository"), ("empty", "holds no bare repository"), ("sound", "")]
    {
        let own = TempDir::new().unwrap();
        std::os::unix::fs::symlink(path(name), own.path().join("upstream")).unwrap();
        let server = Server::on(own, &[], &[]);
        let warned = server.log().contains("the upstream folder");
        assert!(warned != words.is_empty() && server.log().contains(words), "{name}: {}", server.log());
        server.lives_on();
    }
}

#[test]
fn every_mistake_at_once() {
    let mut command = Command::new(crate::support::PROGRAM);
    command.args([
        "serve",
        "--upstream",
        ".",
        "--kind",
        "svn",
        "--listen",
        "nowhere",
        "--admin-listen",
        "0.0.0.0:1",
        "--cores",
        "0",
    ]);
    let (code, said) = run(command);
    assert_eq!(code, 2, "{said}");
    for word in ["svn", "--listen", "--admin-listen", "--cores"] {
        assert!(said.contains(word), "{word} in {said}");
    }
}

/// Where a setting came from the environment, the variable is named; one that is none is told of.
#[test]
fn mistakes_in_the_environment() {
    let folder = TempDir::new().unwrap();
    let mut wrong = command(&[], folder.path());
    wrong.envs([("HELIOSTAT_CORES", "x"), ("HELIOSTAT_LISTEN", "nowhere"), ("HELIOSTAT_FRESHNESS", "often")]);
    let (code, said) = run(wrong);
    assert_eq!(code, 2, "{said}");
    // The flag goes before the variable.
    for words in ["HELIOSTAT_CORES (--cores): `x`", "HELIOSTAT_FRESHNESS (--freshness): "] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!said.contains("nowhere"), "{said}");
    let mut both = command(&[], folder.path());
    both.env("HELIOSTAT_CORES", "2").arg("--cores=x");
    let (_, said) = run(both);
    assert!(said.contains("--cores: `x`") && !said.contains("HELIOSTAT_CORES"), "{said}");

    let mut misspelt = command(&[], folder.path());
    misspelt.envs([("HELIOSTAT_CORE", "1"), ("HELIOSTAT_COLOUR", "red"), ("HELIOSTAT_KIND", "svn")]);
    let (_, said) = run(misspelt);
    for words in ["HELIOSTAT_CORE is no setting; did you mean HELIOSTAT_CORES?", "HELIOSTAT_COLOUR is no setting"] {
        assert!(said.contains(words), "{words} in {said}");
    }
    assert!(!said.contains("HELIOSTAT_KIND is no setting"), "{said}");
}

/// Also those of one section, those of a file that the configuration names, and before anything is listened to.
#[test]
fn every_mistake_about_the_upstream() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("empty.pem"), "no certificate\n").unwrap();
    let both = |name: &str, upstream: &str, words: &[&str]| {
        let config = path(name);
        fs::write(&config, format!("[upstream]\n{upstream}\n[[mirror]]\ninclude = [\"*\"]\n")).unwrap();
        for (arguments, expected) in [(&["check-config"][..], 1), (&["serve", "--config"], 2)] {
            let mut command = Command::new(crate::support::PROGRAM);
            command.args(arguments).arg(&config).current_dir(folder.path());
            let (code, said) = run(command);
            assert_eq!(code, expected, "{name}: {said}");
            assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
            assert!(!said.contains("listening") && !said.contains("sound"), "{said}");
        }
    };
    let all = "kind = \"svn\"\nurl = \"ftp://x\"\nca = \"/nonexistent.pem\"";
    both("all.toml", all, &["`svn`", "`ftp`", "/nonexistent.pem", "No such file"]);
    let ca = |name: &str| format!("url = \"https://x\"\nca = {:?}", path(name));
    both("absent.toml", &ca("absent.pem"), &["absent.pem", "No such file"]);
    both("empty.toml", &ca("empty.pem"), &["empty.pem", "no certificate"]);
    let mut command = Command::new(crate::support::PROGRAM);
    command.args(["serve", "--upstream", ""]);
    let (code, said) = run(command);
    assert!(code == 2 && said.contains("--upstream: must not be empty"), "{code} {said}");
}

/// What is planned and not built is refused in words, never accepted and ignored, and not promised by `--help`.
#[test]
fn what_is_not_built_yet() {
    let folder = TempDir::new().unwrap();
    let heliostat = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = Command::new(crate::support::PROGRAM);
        command.args(arguments).envs(variables.iter().copied()).current_dir(folder.path());
        run(command)
    };
    let serve = |more: &[&str], variables: &[(&str, &str)]| {
        let given = ["serve", "--upstream", ".", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        heliostat(&[&given, more].concat(), variables)
    };
    for (name, (code, said)) in [
        ("--ssh-listen", serve(&["--ssh-listen", "127.0.0.1:2222"], &[])),
        ("--ssh-listen", serve(&["--ssh-listen=127.0.0.1:2222"], &[])),
        ("--ssh-listen", serve(&["--ssh-listen"], &[])),
        ("--ssh-listen", serve(&[], &[("HELIOSTAT_SSH_LISTEN", "127.0.0.1:2222")])),
        ("--accept-mass-change", heliostat(&["sync", "--upstream", ".", "--accept-mass-change"], &[])),
        ("heliostat vet", heliostat(&["vet", "--deep", "--json", "team/app.git"], &[])),
        ("heliostat vet", heliostat(&["vet", "--help"], &[])),
        ("heliostat farm", heliostat(&["farm", "certificate", "--out", "x"], &[])),
    ] {
        assert!(code == 2 && said.contains(name) && said.contains("not built yet"), "{name}: {code} {said}");
    }
    // With all other mistakes, at once.
    let (_, said) = serve(&["--ssh-listen", "--freshness", "sometimes", "--cores", "0"], &[]);
    let all = ["--ssh-listen", "--freshness: unknown freshness `sometimes`", "--cores"];
    assert!(all.iter().all(|mistake| said.contains(mistake)), "{said}");
    for arguments in [&["--help"][..], &["serve", "--help"], &["sync", "--help"]] {
        let output = Command::new(crate::support::PROGRAM).args(arguments).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && help.contains("Usage"), "{help}");
        let words = ["ssh-listen", "accept-mass-change", "vet", "farm", "not built", "Not built"];
        for word in words {
            assert!(!help.contains(word), "{arguments:?} names {word}: {help}");
        }
    }
}

/// The data directory's lock comes before everything that others can see: on the very ports of the first, the second
/// fails for the lock, and it has not listened anywhere.
#[test]
fn a_data_directory_in_use() {
    let server = Server::start();
    let folder = server.folder.path();
    let mut second = Command::new(crate::support::PROGRAM);
    second.arg("serve").arg("--upstream").arg(folder.join("upstream")).arg("--data").arg(folder.join("data"));
    second.args(["--listen", &server.main.to_string(), "--admin-listen", &server.admin.to_string()]);
    let (code, said) = run(second);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("in use by another process") && said.contains("/data"), "{said}");
    assert!(!said.contains("listen"), "{said}");
    server.lives_on();
}

/// The port is not shared with another process of the same user, although shards share it among themselves.
#[test]
fn a_port_in_use() {
    let server = Server::start();
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("upstream")).unwrap();
    let main = server.main.to_string();
    let mut second = Command::new(crate::support::PROGRAM);
    second
        .arg("serve")
        .arg("--upstream")
        .arg(folder.path().join("upstream"))
        .arg("--data")
        .arg(folder.path().join("data"));
    second.args(["--listen", &main, "--admin-listen", "127.0.0.1:0"]);
    let (code, said) = run(second);
    assert_eq!(code, 1, "{said}");
    assert!(said.to_lowercase().contains("in use") && said.contains(&main), "{said}");
    server.lives_on();
}
