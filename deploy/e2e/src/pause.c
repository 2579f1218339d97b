/* Process 1 of every pod: it holds the pod's namespaces, and reaps what is left to it where a pod shares its processes. */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void) {
    sigset_t set;
    int caught;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    /* Blocked, so that none is lost between two calls of sigwait. */
    sigprocmask(SIG_BLOCK, &set, NULL);
    while (sigwait(&set, &caught) == 0) {
        if (caught != SIGCHLD)
            return 0;
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    return 1;
}
