//! Generated fetches, to be laid over any repository: the client, what it asks for, and how it negotiates.

use crate::{
    conversation::{Question, Request},
    stage::{Stage, run},
};
use proptest::{
    collection, option,
    prelude::*,
    sample::{Index, select},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

const FILTERS: [&str; 7] = [
    "blob:none",
    "blob:limit=200",
    "tree:0",
    "tree:2",
    "object:type=tree",
    "object:type=blob",
    "combine:blob:limit=300+tree:3",
];

const ACKS: [&str; 4] = ["", " multi_ack", " multi_ack_detailed", " multi_ack_detailed no-done"];

/// A fetch.
#[derive(Clone, Debug)]
pub struct Draft {
    version: u8,
    /// One process for all rounds (v0 and v1).
    duplex: bool,
    client: Client,
    wants: Vec<Want>,
    bound: Bound,
    /// What the client says that it has, in rounds of this many.
    round: usize,
    rounds: usize,
    /// Only each of so many of its commits.
    stride: usize,
    /// A commit that the server lacks is among them.
    absent: bool,
    done: bool,
    acks: &'static str,
    thin: bool,
    include_tag: bool,
    filter: Option<&'static str>,
}

/// What the client has before.
#[derive(Clone, Debug)]
enum Client {
    /// What a fetch left: it has these commits, as far as the bound let them through.
    Honest { wants: Vec<Index>, bound: Bound },
    /// Whatever it says.
    Liar { haves: Vec<Index>, shallows: Vec<Index> },
}

#[derive(Clone, Debug)]
enum Want {
    Tip(Index),
    Hidden(Index),
    Commit(Index),
    Named(Index),
}

/// Where history is to end.
#[derive(Clone, Debug)]
enum Bound {
    Nowhere,
    Everything,
    Depth(u8),
    Relative(u8),
    Since(Index),
    Not(Vec<Index>),
    SinceNot(Index, Index),
}

fn bounds() -> impl Strategy<Value = Bound> {
    prop_oneof![
        3 => Just(Bound::Nowhere),
        1 => Just(Bound::Everything),
        3 => (1u8..12).prop_map(Bound::Depth),
        2 => (1u8..6).prop_map(Bound::Relative),
        2 => any::<Index>().prop_map(Bound::Since),
        2 => collection::vec(any::<Index>(), 1..3).prop_map(Bound::Not),
        1 => any::<(Index, Index)>().prop_map(|(since, not)| Bound::SinceNot(since, not)),
    ]
}

fn clients() -> impl Strategy<Value = Client> {
    let indices = |most| collection::vec(any::<Index>(), 0..most);
    prop_oneof![
        3 => (collection::vec(any::<Index>(), 1..4), bounds()).prop_map(|(wants, bound)| Client::Honest { wants, bound }),
        1 => (indices(6), indices(4)).prop_map(|(haves, shallows)| Client::Liar { haves, shallows }),
        1 => indices(6).prop_map(|haves| Client::Liar { haves, shallows: Vec::new() }),
    ]
}

fn wants() -> impl Strategy<Value = Vec<Want>> {
    let want = prop_oneof![
        12 => any::<Index>().prop_map(Want::Tip),
        1 => any::<Index>().prop_map(Want::Hidden),
        2 => any::<Index>().prop_map(Want::Commit),
        2 => any::<Index>().prop_map(Want::Named),
    ];
    collection::vec(want, 1..5)
}

pub fn drafts() -> impl Strategy<Value = Draft> {
    let manner = (select(vec![0u8, 1, 2, 2]), any::<bool>(), prop::bool::weighted(0.6), select(ACKS.to_vec()));
    let negotiation = (1usize..6, 0usize..4, 1usize..5, any::<bool>());
    let options = (any::<bool>(), any::<bool>(), option::weighted(0.25, select(FILTERS.to_vec())));
    (manner, negotiation, options, clients(), wants(), bounds()).prop_map(
        |(
            (version, duplex, done, acks),
            (round, rounds, stride, absent),
            (thin, include_tag, filter),
            client,
            wants,
            bound,
        )| {
            Draft {
                version,
                duplex: duplex && version != 2,
                client,
                wants,
                bound,
                round,
                rounds,
                stride,
                absent,
                done,
                acks,
                thin,
                include_tag,
                filter,
            }
        },
    )
}

/// A repository that drafts are laid over.
pub struct Subject<'s> {
    pub stage: &'s Stage,
    pub path: PathBuf,
    /// What clients see: (name, id).
    visible: Vec<(String, String)>,
    /// The ids of what they don't.
    hidden: Vec<String>,
    /// (id, date).
    commits: Vec<(String, String)>,
    /// A commit is dated later than one that stands on it.
    dates_lie: bool,
}

/// A client's commits, newest first, and those among them whose parents it lacks.
#[derive(Clone, Debug, Default)]
struct State {
    commits: Vec<String>,
    shallows: BTreeSet<String>,
}

impl<'s> Subject<'s> {
    /// `path` as it is configured.
    pub fn new(stage: &'s Stage, path: PathBuf) -> Self {
        let dir = path.to_str().unwrap();
        let listing = stage.git(&["-C", dir, "for-each-ref", "--format=%(refname) %(objectname)"]);
        let all: BTreeSet<(String, String)> = listing
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, id)| (name.into(), id.into()))
            .collect();
        let seen = stage.git(&["ls-remote", "--refs", &format!("file://{dir}")]);
        let visible: Vec<(String, String)> =
            seen.lines().filter_map(|line| line.split_once('\t')).map(|(id, name)| (name.into(), id.into())).collect();
        let hidden = all.iter().filter(|one| !visible.contains(one)).map(|(_, id)| id.clone()).collect();
        let listing = stage.git(&["-C", dir, "log", "--all", "--format=%H %ct %P"]);
        let commits: Vec<(String, String)> = listing
            .lines()
            .map(|line| line.splitn(3, ' ').map(String::from).collect())
            .map(|words: Vec<String>| (words[0].clone(), words[1].clone()))
            .collect();
        let date_of: BTreeMap<&str, u64> = commits.iter().map(|(id, date)| (&**id, date.parse().unwrap())).collect();
        let dates_lie = listing.lines().any(|line| {
            let mut words = line.split(' ');
            let date = date_of[words.next().unwrap()];
            words.skip(1).any(|parent| date_of.get(parent).is_some_and(|parent| *parent > date))
        });
        Self { stage, path, visible, hidden, commits, dates_lie }
    }

    pub fn is_empty(&self) -> bool {
        self.visible.is_empty() || self.commits.is_empty()
    }

    fn commit(&self, index: &Index) -> String {
        index.get(&self.commits).0.clone()
    }

    fn bound(&self, bound: &Bound) -> Vec<String> {
        let since = |at: &Index| format!("deepen-since {}", at.get(&self.commits).1);
        let not = |at: &Index| format!("deepen-not {}", at.get(&self.visible).0);
        match bound {
            Bound::Nowhere => Vec::new(),
            Bound::Everything => vec!["deepen 2147483647".into()],
            Bound::Depth(depth) => vec![format!("deepen {depth}")],
            // Difference 13.
            Bound::Relative(depth) if self.dates_lie => vec![format!("deepen {depth}")],
            Bound::Relative(depth) => vec![format!("deepen {depth}"), "deepen-relative".into()],
            Bound::Since(at) => vec![since(at)],
            Bound::Not(names) => names.iter().map(not).collect(),
            Bound::SinceNot(at, name) => vec![since(at), not(name)],
        }
    }

    fn state(&self, client: &Client) -> State {
        let (tips, mut shallows): (Vec<String>, BTreeSet<String>) = match client {
            Client::Liar { haves, shallows } => {
                let commits = haves.iter().map(|at| self.commit(at)).collect();
                return State { commits, shallows: shallows.iter().map(|at| self.commit(at)).collect() };
            }
            Client::Honest { wants, bound } => {
                let tips: Vec<String> = wants.iter().map(|at| self.commit(at)).collect();
                let mut lines = vec!["command=fetch".to_owned(), "0001".into(), "no-progress".into()];
                lines.extend(tips.iter().map(|id| format!("want {id}")));
                lines.extend(self.bound(bound));
                lines.extend(["done".into(), "0000".into()]);
                let shallows = self.shallow_lines(&lines);
                (tips, shallows)
            }
        };
        let mut command = self.stage.process("git");
        let file = self.stage.shallow_file(&shallows);
        command.arg("-C").arg(&self.path).arg("--shallow-file").arg(file.path());
        let listing = run(command.args(["rev-list", "--date-order", "--stdin"]), tips.join("\n").as_bytes());
        let commits: Vec<String> = listing.expect("rev-list").lines().map(String::from).collect();
        // Difference 17: stock Git tells of more.
        shallows.retain(|id| commits.contains(id));
        State { commits, shallows }
    }

    /// Where stock Git says that the history of a clone ends.
    fn shallow_lines(&self, lines: &[String]) -> BTreeSet<String> {
        let request = Request::of(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let mut command = self.stage.server(crate::stage::Side::Stock);
        command.env("GIT_PROTOCOL", "version=2").arg("--stateless-rpc").arg(&self.path);
        let answer = crate::conversation::Answer::of(&run(&mut command, &request.0));
        answer.packets.iter().filter_map(|line| line.strip_prefix("shallow ")).map(|id| id.trim_end().into()).collect()
    }

    /// The questions of a fetch, one a process.
    pub fn questions(&self, draft: &Draft) -> Vec<Question> {
        // Difference 16: with hidden references around, stock Git is ready too early in v0 and v1.
        let draft = &if self.hidden.is_empty() || draft.version == 2 {
            draft.clone()
        } else {
            Draft { acks: "", ..draft.clone() }
        };
        let state = self.state(&draft.client);
        let mut wants = Vec::new();
        let mut names = BTreeSet::new();
        for want in &draft.wants {
            match want {
                Want::Hidden(at) if !self.hidden.is_empty() => wants.push(at.get(&self.hidden).clone()),
                // Difference 13.
                Want::Commit(at) if draft.version == 2 || !self.dates_lie => wants.push(self.commit(at)),
                Want::Named(at) if draft.version == 2 => _ = names.insert(at.get(&self.visible).clone()),
                Want::Tip(at) | Want::Hidden(at) | Want::Commit(at) | Want::Named(at) => {
                    wants.push(at.get(&self.visible).1.clone())
                }
            }
        }
        let mut haves: Vec<String> = Vec::new();
        for id in state.commits.iter().step_by(draft.stride).take(draft.round * draft.rounds) {
            if !haves.contains(id) {
                haves.push(id.clone());
            }
        }
        let mut told = haves.clone();
        if draft.absent {
            told.insert(told.len() / 2, "7".repeat(40));
        }
        let rounds: Vec<&[String]> = told.chunks(draft.round).collect();
        let requests = if draft.duplex {
            vec![(draft.first_version(self, &wants, &state, &rounds, draft.done), told.len())]
        } else {
            let last = rounds.len().max(1);
            let upto = |count: usize| {
                let said = &told[..told.len().min(count * draft.round)];
                let said: Vec<&[String]> = if said.is_empty() { Vec::new() } else { vec![said] };
                let done = draft.done && count == last;
                if draft.version == 2 {
                    draft.second_version(self, &wants, &names, &state, &said, done)
                } else {
                    draft.first_version(self, &wants, &state, &said, done)
                }
            };
            (1..=last).map(|count| (upto(count), count * draft.round)).collect()
        };
        let named: Vec<String> = wants.iter().cloned().chain(names.iter().map(|(_, id)| id.clone())).collect();
        // Difference 14.
        let trees = named.iter().filter(|_| draft.filter.is_some());
        let dir = self.path.to_str().unwrap();
        let trees = trees.map(|id| self.stage.git(&["-C", dir, "rev-parse", &format!("{id}^{{}}")]));
        let wanted_trees: BTreeSet<String> = trees.filter(|id| self.stage.kind(&self.path, id) == "tree").collect();
        let question = |(lines, said): (Vec<String>, usize)| Question {
            repository: self.path.clone(),
            options: if draft.duplex { Vec::new() } else { vec!["--stateless-rpc"] },
            environment: vec![("GIT_PROTOCOL".into(), format!("version={}", draft.version))],
            request: Request::of(&lines.iter().map(String::as_str).collect::<Vec<_>>()),
            haves: told.iter().take(said).filter(|id| haves.contains(id)).chain(&state.shallows).cloned().collect(),
            client_shallow: state.shallows.clone(),
            wanted_trees: wanted_trees.clone(),
            combined: draft.filter.is_some_and(|filter| filter.starts_with("combine:")),
        };
        requests.into_iter().map(question).collect()
    }
}

impl Draft {
    /// A request in v0 or v1.
    fn first_version(
        &self,
        subject: &Subject<'_>,
        wants: &[String],
        state: &State,
        rounds: &[&[String]],
        done: bool,
    ) -> Vec<String> {
        let mut bound = subject.bound(&self.bound);
        let relative = bound.iter().any(|line| line == "deepen-relative");
        bound.retain(|line| line != "deepen-relative");
        let mut capabilities = "side-band-64k ofs-delta no-progress filter".to_owned() + self.acks;
        for (on, name) in [(self.thin, "thin-pack"), (self.include_tag, "include-tag"), (relative, "deepen-relative")] {
            if on {
                capabilities += " ";
                capabilities += name;
            }
        }
        let mut lines: Vec<String> = wants.iter().map(|id| format!("want {id}")).collect();
        if let Some(first) = lines.first_mut() {
            *first = format!("{first} {capabilities}");
        }
        lines.extend(state.shallows.iter().map(|id| format!("shallow {id}")));
        lines.extend(bound);
        lines.extend(self.filter.map(|filter| format!("filter {filter}")));
        lines.push("0000".into());
        for (at, round) in rounds.iter().enumerate() {
            lines.extend(round.iter().map(|id| format!("have {id}")));
            if !done || at + 1 < rounds.len() {
                lines.push("0000".into());
            }
        }
        lines.extend(done.then(|| "done".into()));
        lines
    }

    /// A request in v2.
    fn second_version(
        &self,
        subject: &Subject<'_>,
        wants: &[String],
        names: &BTreeSet<(String, String)>,
        state: &State,
        rounds: &[&[String]],
        done: bool,
    ) -> Vec<String> {
        let mut lines: Vec<String> = ["command=fetch", "0001", "ofs-delta", "no-progress"].map(String::from).into();
        lines.extend(wants.iter().map(|id| format!("want {id}")));
        lines.extend(names.iter().map(|(name, _)| format!("want-ref {name}")));
        for (on, name) in [(self.thin, "thin-pack"), (self.include_tag, "include-tag")] {
            lines.extend(on.then(|| name.into()));
        }
        lines.extend(state.shallows.iter().map(|id| format!("shallow {id}")));
        lines.extend(subject.bound(&self.bound));
        lines.extend(self.filter.map(|filter| format!("filter {filter}")));
        lines.extend(rounds.iter().copied().flatten().map(|id| format!("have {id}")));
        lines.extend(done.then(|| "done".into()));
        lines.push("0000".into());
        lines
    }
}
