/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client exposes, as people write it: `ADDRESS` or `name=N,address=A`. Only text to struct config_app
 * and back; nothing is resolved or connected here.
 */
#ifndef WORMHOLE_SUPERVISOR_EXPOSE_H
#define WORMHOLE_SUPERVISOR_EXPOSE_H

#include "supervisor/config/config.h"

/* ERR_CONFIG with a phrase in why that follows "expose: ". */
enum status expose_parse(const char *text, struct config_app *out, char *why, size_t why_cap);
/* From the two parts; name NULL: derived from the address. */
enum status expose_make(const char *name, const char *address, struct config_app *out, char *why,
                        size_t why_cap);
/* Appends a copy; ERR_CONFIG when the name is there already. */
enum status expose_append(struct config_apps *apps, const struct config_app *app, char *why, size_t why_cap);
/* Makes a valid label out of any text: "Edge_1.example" -> "edge-1-example". False: nothing usable in it. */
bool label_from_text(const char *text, char label[64]);

#endif
