//! Conversations.

use super::MemoryRows;
use crate::model::SessionKey;
use crate::store::Result;
use crate::store::rows::{ConversationRows, Party};

impl ConversationRows for MemoryRows {
    fn party(&mut self, session: &SessionKey) -> Result<Option<Party>> {
        Ok(self.at()?.party(session).cloned())
    }
}
