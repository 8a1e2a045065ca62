//! The command line of a Cassandra node: the flags of its own start script that a test needs, and small memory.

use std::path::Path;

const EXPORTS: [&str; 9] = [
    "java.base/jdk.internal.misc",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "java.base/java.lang.ref",
    "jdk.unsupported/sun.misc",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.attach/sun.tools.attach",
];

const OPENS: [&str; 13] = [
    "java.base/java.lang.module",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.util.jar",
    "jdk.management/com.sun.management.internal",
    "java.base/sun.nio.ch",
    "java.base/java.io",
    "java.base/java.lang.reflect",
    "jdk.compiler/com.sun.tools.javac",
    "java.base/java.lang",
];

/// The arguments of a node in this folder.
pub(super) fn of(node: &Path, lib: &Path, jmx: u16, nodes: usize) -> Vec<String> {
    let folder = node.display();
    // A joining node must reach its seed within the delay; one alone waits for nobody.
    let ring_delay = if nodes == 1 { 100 } else { 5_000 };
    let mut arguments: Vec<String> = [
        "-Xms512m",
        "-Xmx512m",
        "-Xss256k",
        "-XX:+UseSerialGC",
        "-XX:+PerfDisableSharedMem",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:TieredStopAtLevel=4",
        "-Djava.net.preferIPv4Stack=true",
        "-Djdk.attach.allowAttachSelf=true",
        "-Dio.netty.tryReflectionSetAccessible=true",
        "-Dcassandra-foreground=yes",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-Dcassandra.skip_schema_check=true",
        "-Dcassandra.consistent.rangemovement=false",
    ]
    .map(str::to_owned)
    .into();
    arguments.extend([
        format!("-Dcassandra.config=file://{folder}/cassandra.yaml"),
        format!("-Dcassandra.storagedir={folder}"),
        format!("-Dlogback.configurationFile=file://{folder}/logback.xml"),
        format!("-Dcassandra.jmx.local.port={jmx}"),
        format!("-Dcassandra.ring_delay_ms={ring_delay}"),
    ]);
    let all = |package: &str| format!("{package}=ALL-UNNAMED");
    arguments.extend(EXPORTS.map(|it| format!("--add-exports={}", all(it))));
    arguments.extend(OPENS.map(|it| format!("--add-opens={}", all(it))));
    arguments.push("--add-opens=java.base/java.util=ALL-UNNAMED".to_owned());
    arguments.extend(["-cp".to_owned(), format!("{}/*", lib.display())]);
    arguments.push("org.apache.cassandra.service.CassandraDaemon".to_owned());
    arguments
}
