//! The last act: Anna closes her account, time passes, and what a thief could find is looked for before and after.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hearth_api::retention::v1::{ErasureState, receipt_body::Kind};
use hearth_kernel::Owner;
use hearth_ports::Clock;
use hearth_retention::search::Control;

use super::{LONG, Play, STEP, cast, measures};
use crate::demo::erasure;
use crate::demo::readings::{Span, fingerprint, moment};
use crate::demo::screen::{Story, check};
use crate::demo::search::{Seen, Traces, beside, look};
use crate::demo::stage::copy;
use crate::installation::Folders;

const MINUTE: Duration = Duration::from_secs(60);

/// What is known before the erasure, and compared with what is seen after it.
struct Before {
    answers: (String, usize),
    traces: Traces,
    control: Control,
}

impl Play {
    /// Anna leaves; everything of hers goes, and nothing of Bojan's.
    pub(crate) async fn leave(&mut self, story: &mut Story) -> Result<()> {
        let before = Box::pin(self.prepare(story)).await?;
        Box::pin(self.close_and_erase(story)).await?;
        Box::pin(self.look_for_her(story, &before)).await
    }

    /// Everything is found, as its positive control, and a thief takes a copy.
    async fn prepare(&mut self, story: &mut Story) -> Result<Before> {
        let screen = story.screen().clone();
        screen.title("Before Anna leaves");
        let name = "every answer about Bojan's home, as a fingerprint";
        let answers = story.step(name, STEP, self.bojans_answers()).await?;
        let name = "her ids, her keys and her names";
        let traces = story.step(name, STEP, self.traces()).await?;
        screen.line(&format!(
            "    {} ids, {} keys, {} names",
            traces.ids.len(),
            traces.keys.len(),
            traces.texts.len()
        ));
        let searching = async {
            self.stage.maintain().await?;
            let seen = self.look(&traces).await?;
            screen.say(seen.line(&traces));
            seen.control(&traces)
        };
        let name = "the search finds all of it: its control";
        let control = story.step(name, LONG, searching).await?;
        let name = "Hearth stops, its data folder is copied, and it starts again";
        story.step(name, STEP, self.steal(&traces)).await?;
        Ok(Before {
            answers,
            traces,
            control,
        })
    }

    /// The account is closed, time passes, and each step of the erasure is shown and proved.
    async fn close_and_erase(&mut self, story: &mut Story) -> Result<()> {
        let screen = story.screen().clone();
        screen.title("Anna closes her account");
        let closing = erasure::close(&self.anna, &self.line, self.annas.id);
        let name = "closed, with her password again";
        let closed = story.step(name, STEP, closing).await?;
        screen.line(&format!(
            "    grace until {}; {} home ends with it",
            moment(closed.grace_ends_at),
            closed.ending.len()
        ));
        let left = closed.grace_ends_at.since(self.stage.clock.now());
        let passing = self.stage.pass(left + MINUTE);
        story
            .step("the grace of 72 hours passes", STEP, passing)
            .await?;
        let goals = [
            ("her keys are destroyed", ErasureState::KeysGone, Kind::Keys),
            (
                "weeks pass, until the last residual has ended",
                ErasureState::BytesGone,
                Kind::Bytes,
            ),
        ];
        let mut told = 0;
        for (name, goal, kind) in goals {
            let waiting = erasure::until(&self.stage, &self.line, &closed, goal, told, &screen);
            told = story.step(name, LONG, waiting).await?;
            let proving = async {
                let body = erasure::receipt(&self.line, &closed, kind).await?;
                erasure::show(&body, &screen);
                erasure::is_gone(&self.anna).await
            };
            let name = match kind {
                Kind::Bytes => "the byte receipt verifies",
                _ => "the key receipt verifies; nobody signs in as Anna",
            };
            story.step(name, STEP, proving).await?;
        }
        Ok(())
    }

    /// Nothing of her is found, and everything of Bojan's is there.
    async fn look_for_her(&mut self, story: &mut Story, before: &Before) -> Result<()> {
        let screen = story.screen().clone();
        screen.title("What is left");
        let traces = &before.traces;
        let searching = async {
            let seen = self.look(traces).await?;
            screen.say(seen.line(traces));
            for place in seen.places(traces) {
                screen.say(place);
            }
            let residual = seen.proof(&before.control, traces)?;
            screen.say(format!("{residual} bare ids, all on the residual list"));
            Ok(())
        };
        let name = "the search finds bare ids only, with every key there is";
        story.step(name, LONG, searching).await?;
        let name = "the copy from before opens nothing of hers beside the keys of now";
        story.step(name, LONG, self.try_the_copy(traces)).await?;
        let staying = async {
            self.bojan.sign_in().await?;
            let (count, answers) = (before.answers.1, self.bojans_answers().await?);
            check(
                answers == before.answers,
                format_args!("{:?}", before.answers),
                format_args!("{answers:?}"),
            )?;
            let head = answers.0.get(..16).unwrap_or_default();
            screen.say(format!("{count} readings, fingerprint {head}…"));
            Ok(())
        };
        let name = "Bojan signs in; every answer of his is the same, bit by bit";
        story.step(name, LONG, staying).await
    }

    async fn bojans_answers(&self) -> Result<(String, usize)> {
        let span = Span {
            from: self.midnight.plus(-70),
            to: self.midnight,
        };
        let measures = measures(&self.bojans_data);
        fingerprint(&self.bojan, &self.bojans, &measures, span).await
    }

    /// What is hers, as an operator with the vault at hand knows it.
    async fn traces(&self) -> Result<Traces> {
        let owners = vec![
            Owner::Account(self.anna.account),
            Owner::Home(self.annas.id),
        ];
        let vault = self.stage.installation()?.vault();
        let mut keys = Vec::new();
        for owner in &owners {
            keys.extend(vault.key_ids(*owner).await?);
        }
        check(!keys.is_empty(), "keys of hers", "none")?;
        Ok(Traces {
            ids: vec![
                ("her account", *self.anna.account.as_bytes()),
                ("her home", *self.annas.id.as_bytes()),
            ],
            keys,
            texts: cast::PLANTED.to_vec(),
            owners,
        })
    }

    async fn look(&self, traces: &Traces) -> Result<Seen> {
        let ports = self.stage.installation()?.ports();
        look(
            Arc::clone(&ports.files),
            &*ports.log,
            &*ports.custody,
            traces,
        )
        .await
    }

    fn stolen(&self, name: &str) -> Folders {
        Folders::new(self.folder.join(name), None, None)
    }

    /// Stops Hearth, copies its data twice, once with the keys of today, and starts it again.
    async fn steal(&mut self, traces: &Traces) -> Result<()> {
        self.stage.stop().await?;
        let from = self.stage.folders.clone();
        let (with, without) = (self.stolen("with-keys"), self.stolen("without-keys"));
        let copying = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            copy(&from.data, &without.data)?;
            copy(&from.data, &with.data)?;
            copy(&from.keys, &with.keys)?;
            copy(&from.escrow, &with.escrow)
        });
        copying.await??;
        // The control: whoever takes keys as well can read it all, and the documents say so.
        let with = self.stolen("with-keys");
        let (keys, texts) = beside(&with, self.stage.clock.clone(), traces).await?;
        check(
            keys > 0 && texts > 0,
            "the copy with its keys to open",
            format_args!("{keys} keys, {texts} texts"),
        )?;
        self.stage.resume().await
    }

    /// The copy of before without its keys, beside copies of the keys of now.
    async fn try_the_copy(&self, traces: &Traces) -> Result<()> {
        let (now, stolen) = (self.stage.folders.clone(), self.stolen("without-keys"));
        let target = stolen.clone();
        let copying = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
            copy(&now.keys, &target.keys)?;
            copy(&now.escrow, &target.escrow)
        });
        copying.await??;
        let (keys, texts) = beside(&stolen, self.stage.clock.clone(), traces).await?;
        check(keys == 0, "none of her keys", format_args!("{keys}"))?;
        check(texts == 0, "none of her names", format_args!("{texts}"))
    }
}
