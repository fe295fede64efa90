# Writes version.h with the commit of the source tree, only when it changes.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
execute_process(COMMAND git -C ${SOURCE} status --porcelain --untracked-files=no
                OUTPUT_VARIABLE changes ERROR_QUIET)
if(NOT commit)
  # An archive made by `git archive` carries its commit in this file.
  file(STRINGS ${SOURCE}/cmake/commit.txt commit LIMIT_COUNT 1)
  if(NOT commit MATCHES "^[0-9a-f]+$")
    set(commit unknown)
  endif()
endif()
set(dirty false)
if(changes)
  set(dirty true)
endif()
configure_file(${SOURCE}/cmake/version.h.in ${OUTPUT} @ONLY)
