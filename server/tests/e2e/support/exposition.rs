//! The text format of Prometheus, version 0.0.4, read as strictly as its own parser and linter do: names, types, labels,
//! escapes, each family in one piece, no sample twice, histograms whole.

use std::collections::{BTreeMap, BTreeSet};

/// All samples: name and labels, sorted, to value.
pub type Samples = BTreeMap<String, f64>;

/// Reads a document; what is wrong with it, in words.
pub fn read(document: &str) -> Result<Samples, String> {
    let mut samples = Samples::new();
    let mut seen = BTreeSet::new();
    let (mut family, mut kind, mut help) = (String::new(), String::new(), false);
    if !document.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for line in document.lines() {
        let wrong = |what: &str| Err(format!("{what}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, text)) = rest.split_once(' ') else { return wrong("no help") };
            if text.is_empty() || !seen.insert(name.to_owned()) {
                return wrong("a family twice, or one that does not say what it is");
            }
            (family, kind, help) = (name.to_owned(), String::new(), true);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            match rest.split_once(' ') {
                Some((name, what)) if help && name == family && kind.is_empty() => kind = what.to_owned(),
                _ => return wrong("a type without its help"),
            }
            if !["counter", "gauge", "histogram"].contains(&kind.as_str()) {
                return wrong("no such type");
            }
            if !is_name(&family, true) || (kind == "counter") != family.ends_with("_total") {
                return wrong("not a name for that");
            }
        } else {
            let (name, labels, value) = sample(line).map_err(|what| format!("{what}: {line:?}"))?;
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            if !suffixes.iter().any(|suffix| name == format!("{family}{suffix}")) {
                return wrong("a sample of another family");
            }
            if kind != "gauge" && (value.is_nan() || value < 0.0) {
                return wrong("not a count");
            }
            let labels: Vec<String> = labels.iter().map(|(label, text)| format!("{label}={text:?}")).collect();
            if samples.insert(format!("{name}{{{}}}", labels.join(",")), value).is_some() {
                return wrong("a sample twice");
            }
        }
    }
    histograms(&samples)?;
    Ok(samples)
}

/// The sum of all samples of `name` that carry `label`, as in `operation="fetch"`.
pub fn sum(samples: &Samples, name: &str, label: &str) -> f64 {
    let of = |key: &&String| key.split_once('{').is_some_and(|(start, labels)| start == name && labels.contains(label));
    samples.keys().filter(of).map(|key| samples[key]).sum()
}

/// Name, labels in order, and value of a sample's line.
fn sample(line: &str) -> Result<(String, BTreeMap<String, String>, f64), &'static str> {
    let (head, value) = line.rsplit_once(' ').ok_or("no value")?;
    let value = value.parse().map_err(|_| "not a number")?;
    let (name, mut rest) = match head.split_once('{') {
        None => (head, ""),
        Some((name, rest)) => (name, rest.strip_suffix('}').ok_or("labels without end")?),
    };
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").ok_or("a label without value")?;
        let end = after.find(['"', '\\', '\n']).ok_or("a label without end")?;
        if !after[end..].starts_with('"') {
            return Err("something to escape in a label: ours have none");
        }
        if !is_name(label, false) || labels.insert(label.to_owned(), after[..end].to_owned()).is_some() {
            return Err("not a label, or one twice");
        }
        rest = &after[end + 1..];
        rest = if rest.is_empty() { rest } else { rest.strip_prefix(',').ok_or("labels without a comma")? };
    }
    if is_name(name, true) { Ok((name.to_owned(), labels, value)) } else { Err("not a name") }
}

fn is_name(text: &str, colons: bool) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':'));
    starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':'))
}

/// Every histogram's buckets ascend to the last, which is the count, and there is a sum.
fn histograms(samples: &Samples) -> Result<(), String> {
    let mut series: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (key, value) in samples {
        let Some((name, labels)) = key.split_once("_bucket{") else { continue };
        let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        let (bounds, others): (Vec<&str>, Vec<&str>) = labels.into_iter().partition(|label| label.starts_with("le="));
        let [bound] = bounds[..] else { return Err(format!("a bucket without a bound: {key}")) };
        let bound = bound.trim_start_matches("le=").trim_matches('"').replace("+Inf", "inf").parse();
        let bound = bound.map_err(|_| format!("not a bound: {key}"))?;
        series.entry(format!("{name}|{{{}}}", others.join(","))).or_default().push((bound, *value));
    }
    for (key, mut buckets) in series {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let of = |what: &str| samples.get(&key.replace('|', what));
        let whole = buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1)
            && buckets.last().is_some_and(|(bound, count)| bound.is_infinite() && of("_count") == Some(count))
            && of("_sum").is_some();
        if !whole {
            return Err(format!("a histogram that is not whole: {key} {buckets:?}"));
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_found() {
    let head = "# HELP a_total Things.\n# TYPE a_total counter\n";
    let histogram = "# HELP b_seconds Times.\n# TYPE b_seconds histogram\n";
    let good = format!(
        "{head}a_total{{x=\"1\"}} 1\na_total{{x=\"2\",y=\"z z\"}} 2\n{histogram}b_seconds_bucket{{le=\"0.1\"}} 1\n\
         b_seconds_bucket{{le=\"+Inf\"}} 3\nb_seconds_sum 0.5\nb_seconds_count 3\n"
    );
    let samples = read(&good).unwrap();
    assert_eq!((samples.len(), sum(&samples, "a_total", ""), sum(&samples, "a_total", "x=\"2\"")), (6, 3.0, 2.0));
    for bad in [
        "a 1\n".to_owned(),
        format!("{head}a_total 1"),
        format!("{head}a_total 1\na_total 2\n"),
        format!("{head}a_total -1\n"),
        format!("{head}a_total x\n"),
        format!("{head}b_total 1\n"),
        format!("{head}a_total{{x=\"1}} 1\n"),
        format!("{head}a_total{{x=\"1\",x=\"2\"}} 1\n"),
        format!("{head}a_total{{1x=\"1\"}} 1\n"),
        format!("{head}a_total{{x=\"a\\\"\"}} 1\n"),
        format!("{head}{head}"),
        "# HELP a Things.\n# TYPE a counter\na 1\n".into(),
        "# HELP a_total Things.\n# TYPE a_total gauge\na_total 1\n".into(),
        format!("{histogram}b_seconds_bucket{{le=\"0.1\"}} 1\nb_seconds_sum 1\nb_seconds_count 1\n"),
        format!("{histogram}b_seconds_bucket{{le=\"+Inf\"}} 1\nb_seconds_sum 1\nb_seconds_count 2\n"),
        format!(
            "{histogram}b_seconds_bucket{{le=\"1\"}} 2\nb_seconds_bucket{{le=\"+Inf\"}} 1\nb_seconds_sum 1\nb_seconds_count 1\n"
        ),
        format!("{histogram}b_seconds_bucket{{le=\"+Inf\"}} 1\nb_seconds_count 1\n"),
    ] {
        assert!(read(&bad).is_err(), "{bad}");
    }
}
