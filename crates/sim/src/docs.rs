//! The documentation, held to what the server does: every example of it runs, every statement, function and
//! option that exists is described, every link leads somewhere.
//!
//! A page's blocks tell what becomes of them: `sql` runs, statement by statement, in one session per page;
//! `output` right below it is what `millrace sql` shows of it (`REWRITE=1` writes it); `sql,kafka` runs only where
//! there is a broker, over topics of its own; `sql,part` does not run: it is no whole statement, or needs
//! what is not there.

mod book;
mod coverage;
mod examples;
mod functions;
mod pages;
