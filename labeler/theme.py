"""Gradio's theme, set to the variables of static/coach.css: light and dark have one source."""

from __future__ import annotations

from labeler.gradio_import import gr

FONT = ["Inter", "system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]

COLOURS = {  # variable of coach.css -> what is drawn in it, in light and in dark
    "bg": "body_background_fill background_fill_secondary",
    "ink": (
        "body_text_color block_title_text_color checkbox_label_text_color "
        "checkbox_label_text_color_selected button_secondary_text_color"
    ),
    "mute": (
        "body_text_color_subdued block_info_text_color block_label_text_color "
        "input_placeholder_color"
    ),
    "card": (
        "background_fill_primary block_background_fill block_label_background_fill "
        "panel_background_fill button_secondary_background_fill table_even_background_fill "
        "table_odd_background_fill"
    ),
    "line": "border_color_primary block_border_color panel_border_color",
    "accent": (
        "border_color_accent link_text_color link_text_color_hover link_text_color_active "
        "link_text_color_visited input_border_color_focus checkbox_background_color_selected "
        "checkbox_border_color_selected checkbox_label_border_color_selected "
        "button_primary_background_fill button_primary_border_color loader_color slider_color"
    ),
    "soft": (
        "color_accent_soft checkbox_label_background_fill_hover "
        "checkbox_label_background_fill_selected button_secondary_background_fill_hover"
    ),
    "field": (
        "input_background_fill input_background_fill_focus checkbox_background_color "
        "checkbox_label_background_fill"
    ),
    "edge": (
        "input_border_color checkbox_border_color checkbox_label_border_color "
        "button_secondary_border_color"
    ),
    "accent-hover": "button_primary_background_fill_hover",
    "accent-ink": "button_primary_text_color",
}


def coach_theme() -> gr.themes.Base:
    """System fonts only: a page of this app asks no other host for anything."""
    theme = gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=FONT, font_mono=MONO)
    colours = {
        name + mode: f"var(--c-{variable})"
        for variable, names in COLOURS.items()
        for name in names.split()
        for mode in ("", "_dark")
    }
    bordered = ("input", "checkbox_label", "button")
    borders = {f"{part}_border_width{mode}": "1px" for part in bordered for mode in ("", "_dark")}
    flat = ("block", "button_primary", "button_secondary")
    return theme.set(
        **colours,
        **borders,
        **{f"{part}_shadow": "none" for part in flat},
        block_radius="12px",
        input_radius="8px",
        button_large_radius="10px",
        button_medium_radius="10px",
        layout_gap="16px",
    )


def plain_html(value: str = "", name: str | None = None) -> gr.HTML:
    """A gr.HTML that brings no style of its own: static/coach.css has all of it."""
    return gr.HTML(value, elem_id=name, padding=False, apply_default_css=False)
