//! What an installation waits for before it says that it is ready.

use hearth_engine::watermark::{Watermark, announce};
use hearth_ports::SystemClock;

use super::*;

#[tokio::test]
async fn it_is_ready_only_when_every_service_was_heard() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let log: Arc<dyn Log> = Arc::new(hearth_backend_memory::MemoryLog::new(clock));
    let tasks = Tasks::new();
    let watermarks = Watermarks::new(Arc::clone(&log));
    for service in Service::ALL {
        let listening = watermarks.clone();
        tasks.supervise("watermarks", move || {
            let listening = listening.clone();
            async move { listening.listen(service).await }
        });
    }
    assert!(!heard_of_all(&watermarks));
    for module in MODULES {
        assert!(!heard_of_all(&watermarks), "{} is missing", module.service);
        let mark = Watermark {
            source: module.service.name().to_owned(),
            at_micros: 1,
            ..Watermark::default()
        };
        let mut newest = watermarks.newest(module.service);
        // What is announced before somebody listens is lost: again until it is heard.
        while newest.borrow_and_update().at == Timestamp::EPOCH {
            announce(&*log, module.service, &mark)
                .await
                .expect("announced");
            tokio::task::yield_now().await;
        }
    }
    assert!(heard_of_all(&watermarks));
    assert!(tasks.stop(STOP_WITHIN).await);
}
