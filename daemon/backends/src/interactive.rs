//! A program's own terminal interface. It is started as for a turn, with everything that the
//! agent file says of it, but for the arguments that only make sense without a person.

use crate::{BackendError, Driver, ExecPlan, Step};

/// What of a turn's arguments is left out.
pub(crate) struct Headless {
    /// How many arguments name the program.
    pub(crate) program: usize,
    /// Whole arguments.
    pub(crate) words: &'static [&'static str],
    /// Arguments whose value follows.
    pub(crate) with_value: &'static [&'static str],
    /// What a person's interface needs in addition, first of all.
    pub(crate) instead: &'static [&'static str],
}

/// The process of a turn, for a person.
pub(crate) fn interactive(
    mut driver: Box<dyn Driver>,
    headless: &Headless,
) -> Result<ExecPlan, BackendError> {
    let (_, Step::Exec(mut plan)) = driver.next() else {
        return Err(BackendError::Invalid("there is no program to start".to_owned()));
    };
    let mut kept = Vec::with_capacity(plan.argv.len());
    let mut all = plan.argv.into_iter();
    while let Some(argument) = all.next() {
        let is = |list: &[&str]| list.iter().any(|word| word.as_bytes() == argument);
        if is(headless.with_value) {
            all.next();
        } else if !is(headless.words) {
            kept.push(argument);
        }
    }
    let extra = headless.instead.iter().map(|word| word.as_bytes().to_vec());
    let at = headless.program.min(kept.len());
    kept.splice(at..at, extra);
    plan.argv = kept;
    plan.stdin = None;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exit, driver::testing::plan};
    use cordon_proto::v1::{OutputStream, event::Kind};

    struct Once(Vec<&'static str>);

    impl Driver for Once {
        fn next(&mut self) -> (Vec<Kind>, Step) {
            let argv = self.0.iter().map(|a| a.as_bytes().to_vec()).collect();
            (Vec::new(), Step::Exec(ExecPlan { argv, stdin: Some(Vec::new()), ..plan() }))
        }

        fn output(&mut self, _stream: OutputStream, _data: &[u8]) -> Vec<Kind> {
            Vec::new()
        }

        fn exited(&mut self, _exit: &Exit) -> Vec<Kind> {
            Vec::new()
        }
    }

    #[test]
    fn what_is_for_programs_is_left_out() {
        let driver = Box::new(Once(vec!["agent", "exec", "--json", "-o", "exec", "--model=x", "-"]));
        let headless = Headless {
            program: 1,
            words: &["exec", "--json", "-"],
            with_value: &["-o"],
            instead: &["--here"],
        };
        let plan = interactive(driver, &headless).unwrap();
        assert_eq!(plan.argv, [b"agent".to_vec(), b"--here".to_vec(), b"--model=x".to_vec()]);
        assert_eq!(plan.stdin, None);
    }
}
