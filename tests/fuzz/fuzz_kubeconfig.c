/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a kubeconfig file. What loads must be able to reach a server with something to show; what does
 * not must have a message that begins with the file's name.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker-k8s/cluster.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cluster cluster = {.token_file.dir = -1, .ca_file.dir = -1};
    char path[64], error[512] = "";
    int fd = memfd_create("kubeconfig", MFD_CLOEXEC);

    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size))
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum status status = cluster_load(&cluster, path, "", error, sizeof error);
    if (status == OK) {
        if (cluster.host == NULL || cluster.host[0] == '\0' || cluster.port == 0 ||
            (cluster.token.len == 0 && cluster.key.len == 0))
            abort();
        cluster_clear(&cluster);
    } else if (status != ERR_NOMEM && strncmp(error, path, strlen(path)) != 0) {
        abort();
    }
    close(fd);
    return 0;
}
