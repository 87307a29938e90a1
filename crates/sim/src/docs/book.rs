//! The book: `SUMMARY.md` names every page once, and every link leads to a page and a heading that are there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::pages::{directory, pages};

/// Targets of the links of a page, outside of blocks.
fn links(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        }
        if inside {
            continue;
        }
        for rest in line.split("](").skip(1) {
            found.extend(rest.split_once(')').map(|(target, _)| target.to_owned()));
        }
    }
    found
}

/// The anchors of a page, as mdBook and GitHub make them of headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let name = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        name.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let found = std::fs::read_to_string(&path);
            let is_page = path.extension().is_some_and(|e| e == "md");
            let exists = path.exists() && (!is_page || found.is_ok());
            let named =
                anchor.is_empty() || found.is_ok_and(|text| anchors(&text).contains(anchor));
            if !exists || !named {
                wrong.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn the_summary_names_every_page_once() {
    let directory = directory();
    let summary = std::fs::read_to_string(directory.join("SUMMARY.md")).unwrap();
    let mut named: Vec<PathBuf> =
        links(&summary).into_iter().map(|target| directory.join(target)).collect();
    named.sort();
    let mut once = named.clone();
    once.dedup();
    assert_eq!(named.len(), once.len(), "a page is named twice");
    let is_page = |page: &PathBuf| page.starts_with(&directory) && !page.ends_with("SUMMARY.md");
    let pages: Vec<PathBuf> = pages().into_iter().filter(is_page).collect();
    assert_eq!(named, pages);
}

#[test]
fn the_book_is_found_where_its_settings_say() {
    let text = std::fs::read_to_string(directory().join("book.toml")).unwrap();
    let book: toml::Table = text.parse().unwrap();
    assert_eq!(book["book"]["src"].as_str(), Some("."));
    assert!(Path::new(&directory().join("SUMMARY.md")).exists());
}
