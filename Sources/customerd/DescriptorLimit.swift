#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// The number of descriptors, sockets included, that the process may have open at one time.
///
/// The soft limit is often 1,024, for programs that use `select`. This one doesn't.
enum DescriptorLimit {
    /// More than enough; the hard limit can be a billion.
    private static let ceiling: rlim_t = 1 << 20

    /// Raises the soft limit to the hard limit.
    ///
    /// - Returns: the resulting limit.
    ///
    /// Source: getrlimit(2).
    static func raise() -> Int {
        #if canImport(Glibc)
            let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        #else
            let resource = RLIMIT_NOFILE
        #endif
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return 1024 }
        let wanted = max(limit.rlim_cur, min(limit.rlim_max, ceiling))
        var raised = rlimit(rlim_cur: wanted, rlim_max: limit.rlim_max)
        return Int(clamping: setrlimit(resource, &raised) == 0 ? wanted : limit.rlim_cur)
    }
}
