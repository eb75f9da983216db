//! Who may do what: callers, scopes, walls between owners, and how much one may ask for.

mod limits;
pub(crate) mod tokens;
mod walls;
