//! [`Manner`]: how a stand-in treats who asks it.

/// How it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Well,
    /// Reads the request, and never answers.
    Hang,
    /// Begins to answer, and sends a byte now and then.
    Drip,
    /// Answers this many MiB.
    Megabytes(u64),
    /// Status 307 to this URL.
    Redirect(String),
    /// This status, and no more.
    Status(u16),
    /// Closes the connection without an answer.
    Close,
    /// Closes it in the middle of the answer, of which it said the length.
    Half,
    /// Speaks something else than HTTP.
    Other,
    /// Numbers that are none.
    NotNumbers,
    /// Numbers below zero.
    Negative,
    /// Only whoever brings this bearer token gets an answer.
    Token(String),
}

impl Manner {
    /// As the standard input of a [`super::Process`] says it: `hang`, `megabytes 8`, `redirect http://…`.
    pub fn of(text: &str) -> Manner {
        let (word, value) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "well" => Manner::Well,
            "hang" => Manner::Hang,
            "drip" => Manner::Drip,
            "megabytes" => Manner::Megabytes(value.parse().unwrap()),
            "redirect" => Manner::Redirect(value.to_owned()),
            "status" => Manner::Status(value.parse().unwrap()),
            "close" => Manner::Close,
            "half" => Manner::Half,
            "other" => Manner::Other,
            "not_numbers" => Manner::NotNumbers,
            "negative" => Manner::Negative,
            "token" => Manner::Token(value.to_owned()),
            _ => panic!("no manner: {text:?}"),
        }
    }

    /// The same as [`Manner::of`] reads it.
    pub fn text(&self) -> String {
        match self {
            Manner::Well => "well".to_owned(),
            Manner::Hang => "hang".to_owned(),
            Manner::Drip => "drip".to_owned(),
            Manner::Megabytes(count) => format!("megabytes {count}"),
            Manner::Redirect(url) => format!("redirect {url}"),
            Manner::Status(status) => format!("status {status}"),
            Manner::Close => "close".to_owned(),
            Manner::Half => "half".to_owned(),
            Manner::Other => "other".to_owned(),
            Manner::NotNumbers => "not_numbers".to_owned(),
            Manner::Negative => "negative".to_owned(),
            Manner::Token(token) => format!("token {token}"),
        }
    }

    /// A number as this one writes it.
    pub(super) fn number(&self, number: f64) -> String {
        match self {
            Manner::NotNumbers => "NaN".to_owned(),
            Manner::Negative => format!("{:?}", -1.0 - number),
            _ => format!("{number:?}"),
        }
    }
}
