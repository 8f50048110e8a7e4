//! Pages of long lists: how many entries, and behind which. `?limit=N&after=PATH`, and what else the query says.

use crate::http::target::repo_path;
use heliostat_core::RepositoryPath;

/// Entries of a page that is asked for without a number.
const ENTRIES: usize = 100;
/// Entries of a page at most: some 400 KB.
pub const ENTRIES_MAX: usize = 1_000;

/// What a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Entries at most.
    pub limit: usize,
    /// Those behind this path, in the order of their bytes.
    pub after: Option<RepositoryPath>,
    /// `listed`: those that the upstream lists, too.
    pub listed: bool,
}

impl Page {
    /// Reads the query of `target`; what is wrong with it, in words.
    pub fn of(target: &str) -> Result<Self, String> {
        let mut page = Self { limit: ENTRIES, after: None, listed: false };
        let query = target.split_once('?').map_or("", |(_, query)| query);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match name {
                "limit" => match value.parse() {
                    Ok(limit @ 1..=ENTRIES_MAX) => page.limit = limit,
                    _ => return Err(format!("`limit` is a whole number from 1 to {ENTRIES_MAX}")),
                },
                "after" => match repo_path(value) {
                    Some(path) => page.after = Some(path),
                    None => return Err("`after` is the path of a repository, percent-encoded".into()),
                },
                "listed" if value.is_empty() || value == "true" => page.listed = true,
                _ => return Err("a query may hold `limit`, `after` and `listed`".into()),
            }
        }
        Ok(page)
    }

    /// The entries of this page out of `sorted`, and whether there are more behind them.
    pub fn cut<'a, T>(&self, sorted: &'a [T], path: impl Fn(&T) -> &str) -> (&'a [T], bool) {
        let after = self.after.as_ref().map(|path| path.as_str());
        let start = sorted.partition_point(|entry| after.is_some_and(|after| path(entry) <= after));
        let end = sorted.len().min(start + self.limit);
        (&sorted[start..end], end < sorted.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let page = |limit, after: Option<&str>, listed| {
            Ok(Page { limit, after: after.map(|path| path.parse().unwrap()), listed })
        };
        for (target, expected) in [
            ("/x", page(100, None, false)),
            ("/x?", page(100, None, false)),
            ("/x?limit=1000&after=team/a%20b.git&listed", page(1_000, Some("team/a b.git"), true)),
            ("/x?listed=true", page(100, None, true)),
        ] {
            assert_eq!(Page::of(target), expected, "{target}");
        }
        for target in
            ["/x?limit=0", "/x?limit=1001", "/x?limit=x", "/x?after=../a", "/x?after=", "/x?other=1", "/x?listed=0"]
        {
            assert!(Page::of(target).is_err(), "{target}");
        }
    }

    #[test]
    fn pages_together_are_the_whole_list() {
        let sorted: Vec<String> = (10..60).map(|number| format!("r{number}")).collect();
        for limit in [1, 7, 49, 50, 51] {
            let mut page = Page { limit, after: None, listed: false };
            let mut found = Vec::new();
            loop {
                let (entries, more) = page.cut(&sorted, |path| path);
                assert!(entries.len() == limit || !more, "only the last one is short");
                found.extend(entries.iter().cloned());
                page.after = found.last().map(|path| path.parse().unwrap());
                if !more {
                    break;
                }
            }
            assert_eq!(found, sorted, "{limit}");
        }
    }
}
